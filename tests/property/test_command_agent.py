"""However often the command agent is killed, wherever, and however its input is batched: each command is decided once,
and the documents and events are those of a run in which nothing went wrong."""

import asyncio
from itertools import count

from hypothesis import given, settings, strategies as st

from agents.commands import DecideCommands
from agents.processing import Slice
from devconnect.events import commands as c
from devconnect.events.base import SEQ_STRIDE
from devconnect.events.topics import CONNECTION_COMMANDS, MESSAGE_COMMANDS, USER_COMMANDS, topic_of
from devconnect.ports.metrics import NoMetrics
from tests.fakes import CrashError, MemoryAnswers, MemoryProjections, MemoryPublisher, MemoryRecord, MemoryTruth

TOPICS = (USER_COMMANDS, CONNECTION_COMMANDS, MESSAGE_COMMANDS)
USERS = ("ann", "bob", "cem")
users = st.sampled_from(USERS)
#: The places that the first messages of a log come to.
early = st.integers(0, 12 * SEQ_STRIDE)
AT = 1_700_000_000_000


@st.composite
def a_command(draw, number: int) -> c.AnyCommand:
    actor, other = draw(st.tuples(users, users))
    stamp = {"id": f"c{number}", "actor": actor, "at": AT + number, "fingerprint": draw(st.sampled_from("ab"))}
    return draw(
        st.sampled_from(
            (
                c.SignUp(**stamp, user=actor, email=f"{other}@x", password_hash="h", name=actor),
                c.ChangeProfile(**stamp, headline=f"h{number}"),
                c.LogIn(**stamp, session=f"s{number}", expires_at=AT * 2),
                c.LogOut(**stamp, session=f"s{number - 1}"),
                c.RequestConnection(**stamp, to=other, interest="interested"),
                c.RequestConnection(**stamp, to=other, interest="ignored"),
                c.ReviewConnection(**stamp, requester=other, verdict="accepted"),
                c.RemoveConnection(**stamp, other=other),
                c.SendMessage(**stamp, to=other, text=f"t{number}"),
                c.SendMessage(**stamp, to="ann" if actor != "ann" else "bob", text=f"u{number}"),
                c.MarkRead(**stamp, peer=other, up_to=draw(early)),
                c.MarkDelivered(**stamp, peer=other, up_to=draw(early)),
            )
        )
    )


@st.composite
def command_logs(draw) -> list[c.AnyCommand]:
    """Commands as the gateways sent them, some of them twice: a retry has the id of its first try."""
    log = [draw(a_command(number)) for number in range(100, 100 + draw(st.integers(1, 25)))]
    for again in draw(st.lists(st.integers(0, len(log) - 1), max_size=4)):
        log.insert(draw(st.integers(again, len(log))), log[again])
    return [*(BEGINNING if draw(st.booleans()) else ()), *log]


def _beginning() -> tuple[c.AnyCommand, ...]:
    """Three accounts, and ann connected with both others."""
    log: list[c.AnyCommand] = []
    for number, name in enumerate(USERS):
        stamp = {"id": f"b{number}", "actor": name, "at": AT}
        log.append(c.SignUp(**stamp, user=name, email=f"{name}@y", password_hash="h", name=name))
    for number, name in enumerate(USERS[1:]):
        log.append(c.RequestConnection(id=f"r{number}", actor="ann", at=AT, to=name, interest="interested"))
        log.append(c.ReviewConnection(id=f"v{number}", actor=name, at=AT, requester="ann", verdict="accepted"))
    return tuple(log)


BEGINNING = _beginning()


class Fleet:
    """The command agents of the three topics over stores that outlive them."""

    def __init__(self) -> None:
        self.truth, self.publisher = MemoryTruth(), MemoryPublisher()
        self.answers, self.projections = MemoryAnswers(), MemoryProjections()
        self.committed = dict.fromkeys((topic.name for topic in TOPICS), 0)

    def crash_after(self, steps: int) -> None:
        """End the process at this many effects from now."""
        left = count(steps, -1)

        def hook(_: str) -> None:
            if next(left) == 0:
                raise CrashError

        self.truth.hook = self.publisher.hook = self.projections.hook = hook

    async def run(self, log: list[c.AnyCommand], batch: int) -> None:
        """Work off what isn't committed, a topic after the other."""
        for topic in TOPICS:
            commands = [command for command in log if topic_of(command) is topic]
            records = [MemoryRecord(offset, None, None) for offset in range(len(commands))]
            step = DecideCommands(
                topic,
                truth=self.truth,
                publisher=self.publisher,
                projections=self.projections,
                answers=self.answers,
                metrics=NoMetrics(),
            )
            while (start := self.committed[topic.name]) < len(commands):
                end = start + batch
                await step.apply([Slice(topic.name, 0, records[start:end], commands[start:end])])
                self.committed[topic.name] = end

    def events(self) -> dict[tuple[str, int], list[bytes]]:
        """What a reader that skips repeats sees of each partition; their first sight must be in order."""
        seen: dict[tuple[str, int], list[bytes]] = {}
        for partition, records in self.publisher.logs.items():
            seen[partition] = list(dict.fromkeys(record.value or b"" for record in records))
        return seen


@settings(max_examples=300, deadline=None)
@given(command_logs(), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=6), st.integers(1, 12))
def test_crashes_change_nothing(log, crashes, batch) -> None:
    """Each life has batches of another size: what the last one left half done comes with other commands."""
    calm, shaken = Fleet(), Fleet()
    asyncio.run(calm.run(log, 1))
    for steps, size in [*crashes, (10_000, batch)]:
        shaken.crash_after(steps)
        try:
            asyncio.run(shaken.run(log, size))
        except CrashError:
            continue
    assert shaken.truth.documents == calm.truth.documents
    assert shaken.truth.stored == calm.truth.stored
    assert shaken.truth.credentials == calm.truth.credentials
    assert shaken.events() == calm.events()
    assert shaken.answers.told == calm.answers.told


@settings(max_examples=100, deadline=None)
@given(command_logs(), st.integers(1, 10), st.integers(0, 25))
def test_two_owners_of_one_partition_agree(log, batch, overlap) -> None:
    """A second owner that starts over decides nothing anew, whatever the first one has done since."""
    calm, both = Fleet(), Fleet()
    asyncio.run(calm.run(log, 1))
    asyncio.run(both.run(log, batch))
    both.committed = {name: max(0, offset - overlap) for name, offset in both.committed.items()}
    asyncio.run(both.run(log, batch))
    assert both.truth.documents == calm.truth.documents
    assert both.truth.stored == calm.truth.stored
    assert both.events() == calm.events()
