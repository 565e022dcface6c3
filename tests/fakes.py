"""The ports in memory, for tests of what stands on them. They keep the promises of the ports' docstrings."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from devconnect.domain.deciding import Answer
from devconnect.domain.model import (
    AnyDocument,
    Connection,
    Decision,
    Ref,
    RelationState,
    Reservation,
    Secret,
    Snapshot,
    ref_of,
)
from devconnect.domain.projections import AddNotification, MarkNotificationsRead, MarkNotificationsSeen, PutTalk, Update
from devconnect.domain.search import Entry
from devconnect.ports.answers import Answers
from devconnect.ports.clock import Clock
from devconnect.ports.letters import History, Letters
from devconnect.ports.listings import Listings
from devconnect.ports.metrics import Metric, Metrics
from devconnect.ports.projections import Mark, Projections
from devconnect.ports.publisher import DeadLetter, Publisher, Record
from devconnect.ports.reads import Page, Relations, RelationView
from devconnect.ports.truth import Truth
from faust_batch.batch import Batch


class CrashError(BaseException):
    """The process is gone: nothing catches this."""


#: Called before and after each effect, so that a test can end the process there.
Hook = Callable[[str], None]


def no_hook(_: str) -> None:
    """Nothing happens."""


class MemoryTruth(Truth):
    """The database as a few dictionaries."""

    def __init__(self) -> None:
        self.hook: Hook = no_hook
        self.stored: dict[str, Decision] = {}
        self.credentials: dict[str, Reservation] = {}
        self.secrets: dict[str, Secret] = {}
        self.documents: dict[Ref, AnyDocument] = {}
        self.notifications: dict[tuple[str, str], AddNotification] = {}
        self.read: dict[tuple[str, str], int] = {}
        self.seen_up_to: dict[str, str] = {}

    async def decisions(self, ids: Collection[str]) -> Mapping[str, Decision]:
        return {key: self.stored[key] for key in ids if key in self.stored}

    async def record(self, decisions: Sequence[Decision]) -> Mapping[str, Decision]:
        others = {}
        for decision in decisions:
            self.hook("record")
            if decision.id in self.stored:
                others[decision.id] = self.stored[decision.id]
                break
            else:
                self.stored[decision.id] = decision
            self.hook("recorded")
        return others

    async def reserve(self, reservations: Sequence[Reservation]) -> Mapping[str, str]:
        for reservation in reservations:
            self.hook("reserve")
            held = self.credentials.setdefault(reservation.email, reservation)
            if held.user == reservation.user and held.seq < reservation.seq:
                self.credentials[reservation.email] = reservation
        return {wanted.email: self.credentials[wanted.email].user for wanted in reservations}

    async def release(self, reservations: Sequence[Reservation]) -> None:
        for reservation in reservations:
            self.hook("release")
            held = self.credentials.get(reservation.email)
            if held is not None and held.user == reservation.user and held.seq <= reservation.seq:
                del self.credentials[reservation.email]
            self.hook("released")

    async def keep_secrets(self, secrets: Sequence[Secret]) -> None:
        for secret in secrets:
            self.hook("secret")
            before = self.secrets.get(secret.user)
            if before is None or before.seq < secret.seq:
                self.secrets[secret.user] = secret

    async def load(self, refs: Collection[Ref]) -> Snapshot:
        return {ref: self.documents[ref] for ref in refs if ref in self.documents}

    async def save(self, documents: Iterable[AnyDocument], *, new: Collection[Ref] = ()) -> None:
        for document in documents:
            self.hook("save")
            before = self.documents.get(ref_of(document))
            if before is None or before.seq < document.seq:
                self.documents[ref_of(document)] = document
            self.hook("saved")

    async def add_notifications(self, notifications: Sequence[AddNotification]) -> None:
        for notification in notifications:
            self.notifications.setdefault((notification.user, notification.notification), notification)

    async def mark_notifications_read(self, marks: Sequence[MarkNotificationsRead]) -> None:
        for mark in marks:
            for name in mark.notifications:
                self.read.setdefault((mark.user, name), mark.at)

    async def mark_notifications_seen(self, marks: Sequence[MarkNotificationsSeen]) -> None:
        for mark in marks:
            self.seen_up_to[mark.user] = max(mark.up_to, self.seen_up_to.get(mark.user, ""))


class MemoryRelations(Relations):
    """What is between people, as a database of connections says."""

    def __init__(self, truth: MemoryTruth) -> None:
        self._truth = truth

    async def relations(
        self, user: str, state: RelationState, cursor: str | None, limit: int, *, by_others: bool = False
    ) -> Page[RelationView]:
        found = [
            RelationView(user=next(each for each in document.users if each != user), state=state, by=document.by, at=0)
            for document in self._truth.documents.values()
            if isinstance(document, Connection) and user in document.users and document.state == state
        ]
        start = int(cursor or 0)
        end = start + limit
        return Page(tuple(found[start:end]), str(end) if end < len(found) else None)


class MemoryPublisher(Publisher):
    """Every partition is a list."""

    def __init__(self) -> None:
        self.hook: Hook = no_hook
        self.logs: dict[tuple[str, int], list[Record]] = {}
        self.letters: list[DeadLetter] = []

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        log = self.logs.setdefault((topic, partition), [])
        for record in records:
            self.hook("publish")
            log.append(record)
        self.hook("published")
        return len(log) - 1

    async def spread(self, topic: str, records: Sequence[Record]) -> None:
        await self.publish(topic, 0, records)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        self.hook("bury")
        self.letters.extend(letters)


class MemoryLetters(Letters):
    """What was buried through a publisher, and what is allowed."""

    def __init__(self, publisher: MemoryPublisher) -> None:
        self._publisher = publisher
        self.allowances: dict[tuple[str, int], int] = {}
        #: Errors for the next reads, the first first.
        self.errors: list[Exception] = []
        self.reads = 0

    async def history(self, agent: str, topic: str, partition: int, since: int, before: int) -> History:
        self.reads += 1
        if self.errors:
            raise self.errors.pop(0)
        bad = {
            letter.offset
            for letter in self._publisher.letters
            if (letter.agent, letter.topic, letter.partition) == (agent, topic, partition)
            and since <= letter.offset < before
        }
        return History(tuple(sorted(bad)), self.allowances.get((topic, partition), -1))

    async def allowed(self, partition: int) -> Mapping[str, int]:
        return {topic: up_to for (topic, number), up_to in self.allowances.items() if number == partition}


class MemoryAnswers(Answers):
    """What was told, by command id."""

    def __init__(self) -> None:
        self.told: dict[str, Decision] = {}

    async def tell(self, answers: Sequence[Answer]) -> None:
        self.told.update((answer.id, answer.decision) for answer in answers)

    async def forget(self, commands: Collection[str]) -> None:
        for command in commands:
            self.told.pop(command, None)


class MemoryListings(Listings):
    """Each person's conversations, and what they find messages by, each the newest."""

    def __init__(self) -> None:
        self.talks: dict[tuple[str, str], int] = {}
        self.words: dict[tuple[str, str], Entry] = {}

    async def put_talks(self, talks: Sequence[PutTalk]) -> None:
        for talk in talks:
            key = talk.user, talk.peer
            self.talks[key] = max(talk.at, self.talks.get(key, 0))

    async def put_words(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            before = self.words.get((entry.user, entry.message))
            if before is None or before.seq < entry.seq:
                self.words[entry.user, entry.message] = entry


class MemoryProjections(Projections):
    """The updates, in order."""

    def __init__(self) -> None:
        self.hook: Hook = no_hook
        self.updates: list[Update] = []
        self.marks: dict[tuple[str, int], Mark] = {}
        self.whole = False
        #: False as after a restart of the store, which may have forgotten log-outs.
        self.sessions = True

    async def apply(self, updates: Sequence[Update]) -> None:
        self.hook("apply")
        self.updates.extend(updates)

    async def applied(self, topic: str, marks: Mapping[int, Mark]) -> None:
        self.hook("applied")
        for partition, mark in marks.items():
            before = self.marks.get((topic, partition), Mark(0, 0))
            self.marks[topic, partition] = Mark(max(before.seq, mark.seq), max(before.at, mark.at))

    async def complete(self) -> bool:
        return self.whole

    async def declare_complete(self) -> None:
        self.whole = True

    async def sessions_known(self) -> bool:
        return self.sessions

    async def declare_sessions_known(self) -> None:
        self.sessions = True


class MemoryMetrics(Metrics):
    """Counters and gauges by name and labels, and every observation."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[tuple[str, ...], float] = {}
        self.observed: dict[tuple[str, ...], list[float]] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        self.counts[self._named(metric, "counter", labels)] += by

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        self.gauges[self._named(metric, "gauge", labels)] = to

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        self.observed.setdefault(self._named(metric, "histogram", labels), []).append(value)

    def _named(self, metric: Metric, kind: str, labels: tuple[str, ...]) -> tuple[str, ...]:
        assert metric.kind == kind
        assert len(metric.labels) == len(labels)
        return (metric.name, *labels)


class ManualClock(Clock):
    """Stands still until it is moved."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class MemoryRecord(NamedTuple):
    """A record as a consumer gives it."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


class MemoryBatch(Batch):
    """A batch that remembers what became of it. A value of None in `values` is a record without one."""

    def __init__(
        self, topic: str, partition: int, first: int, values: Sequence[bytes | None], timestamp: int = 0
    ) -> None:
        records = [MemoryRecord(first + n, b"key", value, timestamp) for n, value in enumerate(values)]
        super().__init__(
            topic,
            partition,
            records,
            acknowledge=self._note_acknowledged,
            is_current=lambda: self.current,
            hold=self._note_held,
            release=self._note_released,
        )
        self.acknowledged = 0
        self.current = True
        #: Where the partition was held, and how often it was released.
        self.held: int | None = None
        self.released = 0

    def _note_acknowledged(self) -> None:
        self.acknowledged += 1

    def _note_held(self, offset: int) -> None:
        self.held = offset

    async def _note_released(self) -> None:
        self.released += 1
