"""The topic `dead-letters`: how a letter and what was done about it are written there, and read back."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from aiokafka.errors import KafkaError

from devconnect.domain.letters import Allowance, Entry, Letter, Mark, Name
from devconnect.events.topics import DEAD_LETTERS
from devconnect.ports.letters import History
from devconnect.ports.publisher import DeadLetter, Record
from devconnect.ports.truth import UnavailableError
from faust_batch.batch import Record as Read
from faust_batch.changelog import read_to_end

#: Version of the headers.
VERSION = b"1"
#: Characters of a cause that are kept: it may quote the record.
CAUSE_KEPT = 500
#: Goes before the name of a header that the record had at its source.
SOURCE = "source."


def letter_record(letter: DeadLetter, now: int) -> Record:
    """A letter: key and value are those of the source."""
    headers = {
        "version": VERSION,
        "agent": letter.agent.encode(),
        "cause": letter.cause[:CAUSE_KEPT].encode(errors="replace"),
        "topic": letter.topic.encode(),
        "partition": str(letter.partition).encode(),
        "offset": str(letter.offset).encode(),
        "at": str(now).encode(),
    }
    kept = tuple((SOURCE + name, value) for name, value in letter.headers)
    # A record needs a key or a value; headers alone aren't enough for every client.
    return Record(letter.key, letter.value if letter.value is not None else b"", (*headers.items(), *kept))


def mark_record(mark: Mark, now: int) -> Record:
    """What was done about a letter: on its partition, behind it."""
    headers = {
        "version": VERSION,
        "mark": mark.state.encode(),
        "agent": mark.name.agent.encode(),
        "topic": mark.name.topic.encode(),
        "partition": str(mark.name.partition).encode(),
        "offset": str(mark.name.offset).encode(),
        "at": str(now).encode(),
    }
    return Record(None, b"", tuple(headers.items()))


def allowance_record(allowance: Allowance, now: int) -> Record:
    """That any number of bad records may be buried of a partition, up to an offset."""
    headers = {
        "version": VERSION,
        "mark": b"allowed",
        "topic": allowance.topic.encode(),
        "partition": str(allowance.partition).encode(),
        "offset": str(allowance.up_to).encode(),
        "at": str(now).encode(),
    }
    return Record(None, b"", tuple(headers.items()))


def entry(record: Read) -> Entry | None:
    """What a record of the topic says; None when it is none of ours."""
    said = dict(record.headers)
    try:
        topic, place = said["topic"].decode(), (int(said["partition"]), int(said["offset"]))
        match said.get("mark"):
            case None:
                return _letter(record, said, Name(topic, *place, said["agent"].decode()))
            case b"allowed":
                return Allowance(topic, *place)
            case b"retried":
                return Mark(Name(topic, *place, said["agent"].decode()), "retried")
            case b"dropped":
                return Mark(Name(topic, *place, said["agent"].decode()), "dropped")
    except (LookupError, ValueError):
        pass
    return None


def _letter(record: Read, said: Mapping[str, bytes], name: Name) -> Letter:
    return Letter(
        name=name,
        cause=said["cause"].decode(),
        at=int(said["at"]),
        key=record.key,
        value=record.value or None,
        headers=tuple(
            (header.removeprefix(SOURCE), value) for header, value in record.headers if header.startswith(SOURCE)
        ),
    )


class LetterLog:
    """Reads the topic, a partition or all of it."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def read(self, partitions: Iterable[int]) -> AsyncIterator[Sequence[Entry]]:
        """Each chunk of what is there now; UnavailableError when it can't be read."""
        try:
            async for chunk in read_to_end(self._bootstrap, DEAD_LETTERS.name, dict.fromkeys(partitions, 0)):
                yield [found for record in chunk.records if (found := entry(record)) is not None]
        except KafkaError as exc:
            raise UnavailableError(f"{DEAD_LETTERS.name} can't be read: {exc!r}") from exc

    async def history(self, agent: str, topic: str, partition: int, since: int, before: int) -> History:
        """What the agent has buried of the partition between two offsets, and what is allowed there."""
        bad: set[int] = set()
        allowed = -1
        async for entries in self.read([partition]):
            for found in entries:
                match found:
                    case Letter(name=(of, _, offset, who)) if (of, who) == (topic, agent) and since <= offset < before:
                        bad.add(offset)
                    case Allowance(topic=of, up_to=up_to) if of == topic:
                        allowed = max(allowed, up_to)
        return History(tuple(sorted(bad)), allowed)

    async def allowed(self, partition: int) -> dict[str, int]:
        """Up to which offset any number of bad records may be buried, by topic."""
        found: dict[str, int] = {}
        async for entries in self.read([partition]):
            for each in entries:
                if isinstance(each, Allowance):
                    found[each.topic] = max(found.get(each.topic, -1), each.up_to)
        return found
