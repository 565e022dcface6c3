"""However often the command agent is killed, wherever, and however its input is batched: each command is decided once,
and the documents and events are those of a run in which nothing went wrong."""

import asyncio
from collections.abc import Sequence
from itertools import count, cycle
from typing import Any, get_args

from hypothesis import given, settings, strategies as st

from agents.commands import DecideCommands
from agents.processing import Slice
from devconnect.events import commands as c
from devconnect.events.base import SEQ_STRIDE, SYSTEM, Role
from devconnect.events.topics import CONNECTION_COMMANDS, MESSAGE_COMMANDS, USER_COMMANDS, Topic, topic_of
from devconnect.ports.metrics import NoMetrics
from devconnect.ports.truth import UnavailableError
from tests.fakes import CrashError, Hook, MemoryAnswers, MemoryProjections, MemoryPublisher, MemoryRecord, MemoryTruth

TOPICS = (USER_COMMANDS, CONNECTION_COMMANDS, MESSAGE_COMMANDS)
USERS = ("ann", "bob", "cem")
users = st.sampled_from(USERS)
#: The places that the first messages of a log come to.
early = st.integers(0, 12 * SEQ_STRIDE)
places = st.integers(1, 12).map(lambda number: number * SEQ_STRIDE)
AT = 1_700_000_000_000
#: How far back the command lies that another one is about.
back = st.integers(1, 6)
ROLES = get_args(Role)


@st.composite
def a_command(draw, number: int) -> c.AnyCommand:
    actor, other = draw(st.tuples(users, users))
    stamp = {"id": f"c{number}", "actor": actor, "at": AT + number, "fingerprint": draw(st.sampled_from("ab"))}
    return draw(
        st.sampled_from(
            (
                # Its id is its own, as the gateway draws it; addresses have a test of their own.
                c.SignUp(**stamp, user=f"{actor}.{number}", email=f"{other}@x", password_hash="h", name=actor),
                c.ChangeProfile(**stamp, headline=f"h{number}"),
                c.RequestPasswordReset(**stamp, user=other, email=f"{other}@y"),
                c.ResetPassword(**stamp, ticket=f"c{number - draw(back)}", password_hash=f"r{number}"),
                c.RequestEmailVerification(**stamp),
                c.ConfirmEmail(**stamp, ticket=f"c{number - draw(back)}", email=f"{actor}@y"),
                c.ChangeRole(**{**stamp, "actor": SYSTEM}, user=other, role=draw(st.sampled_from(ROLES))),
                *_of_sessions(draw, stamp, number),
                c.RequestConnection(**stamp, to=other, interest="interested"),
                c.RequestConnection(**stamp, to=other, interest="ignored"),
                c.ReviewConnection(**stamp, requester=other, verdict="accepted"),
                c.RemoveConnection(**stamp, other=other),
                c.WithdrawRequest(**stamp, to=other),
                c.BlockUser(**stamp, other=other),
                c.UnblockUser(**stamp, other=other),
                c.ReportUser(**stamp, other=other, reason="spam"),
                c.CloseReport(
                    **stamp, report=f"c{number - 1}", reporter=other, reported=actor, outcome="", authority="operator"
                ),
                c.SendMessage(**stamp, to=other, text=f"t{number}"),
                c.SendMessage(**stamp, to="ann" if actor != "ann" else "bob", text=f"u{number}"),
                c.EditMessage(**stamp, peer=other, message=draw(places), text=f"e{number}"),
                c.DeleteMessage(**stamp, peer=other, message=draw(places)),
                c.MarkRead(**stamp, peer=other, up_to=draw(early)),
                c.MarkDelivered(**stamp, peer=other, up_to=draw(early)),
            )
        )
    )


def _of_sessions(draw, stamp: dict[str, Any], number: int) -> tuple[c.AnyCommand, ...]:
    session, ends = f"s{number - draw(back)}", {"expires_at": AT * 2, "ends_at": AT * 3}
    return (
        c.LogIn(**stamp, session=f"s{number}", expires_at=AT + draw(back) * 2),
        c.LogIn(**stamp, session=f"s{number}", **ends),
        c.LogOut(**stamp, session=session),
        c.LogOutEverywhere(**stamp, keep=session),
        c.RenewSession(
            **stamp, session=session, generation=draw(st.integers(0, 2)), expires_at=AT * 2, successor=f"s{number}"
        ),
        c.ChangePassword(**stamp, password_hash=f"p{number}", session=session, successor=f"s{number}", **ends),
    )


@st.composite
def command_logs(draw) -> list[c.AnyCommand]:
    """Commands as the gateways sent them, some of them twice: a retry has the id of its first try."""
    log = [draw(a_command(number)) for number in range(100, 100 + draw(st.integers(1, 25)))]
    for again in draw(st.lists(st.integers(0, len(log) - 1), max_size=4)):
        log.insert(draw(st.integers(again, len(log))), log[again])
    return [*(BEGINNING if draw(st.booleans()) else ()), *log]


@st.composite
def session_logs(draw) -> list[c.AnyCommand]:
    """One person with many sessions, and a role that comes and goes."""
    log: list[c.AnyCommand] = [BEGINNING[0]]
    for number in range(100, 100 + draw(st.integers(3, 25))):
        stamp = {"id": f"c{number}", "actor": "ann", "at": AT + number}
        role = c.ChangeRole(**{**stamp, "actor": SYSTEM}, user="ann", role=draw(st.sampled_from(ROLES)))
        log.append(draw(st.sampled_from((*_of_sessions(draw, stamp, number), role))))
    return log


@st.composite
def busy_logs(draw) -> list[c.AnyCommand]:
    """Two people who do little but talk, fall out and make it up: nearly every command rests on the one before it."""
    log: list[c.AnyCommand] = list(BEGINNING)
    for number in range(draw(st.integers(3, 25))):
        actor, other = draw(st.permutations(("ann", "bob")))
        stamp = {"id": f"c{number}", "actor": actor, "at": AT + number}
        said = c.SendMessage(**stamp, to=other, text=f"t{number}")
        rare = draw(
            st.sampled_from(
                (
                    c.RemoveConnection(**stamp, other=other),
                    c.RequestConnection(**stamp, to=other, interest="interested"),
                    c.MarkRead(**stamp, peer=other, up_to=draw(early)),
                    c.EditMessage(**stamp, peer=other, message=draw(places), text=f"e{number}"),
                    c.DeleteMessage(**stamp, peer=other, message=draw(places)),
                    c.BlockUser(**stamp, other=other),
                    c.UnblockUser(**stamp, other=other),
                    log[draw(st.integers(0, len(log) - 1))],
                )
            )
        )
        log.append(said if draw(st.integers(0, 3)) else rare)
    return log


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


class Turns:
    """How many turns of the event loop each call to a store takes: drawn before, used up in a circle."""

    def __init__(self, turns: Sequence[int] = (0,)) -> None:
        self._turns = cycle(turns or (0,))

    async def take(self) -> None:
        for _ in range(next(self._turns)):
            await asyncio.sleep(0)


def slow(store: Any, turns: Turns) -> Any:
    """The store, with turns before and after each of its calls, so that others come between."""

    class Slow:
        def __getattr__(self, name: str) -> Any:
            method = getattr(store, name)

            async def call(*args: Any, **options: Any) -> Any:
                await turns.take()
                answer = await method(*args, **options)
                await turns.take()
                return answer

            return call

    return Slow()


class Fleet:
    """The command agents of the three topics over stores that outlive them."""

    def __init__(self, turns: Sequence[int] = (0,)) -> None:
        self.truth, self.publisher = MemoryTruth(), MemoryPublisher()
        self.answers, self.projections = MemoryAnswers(), MemoryProjections()
        self.committed = dict.fromkeys((topic.name for topic in TOPICS), 0)
        self._turns = Turns(turns)

    def call(self, hook: Hook) -> None:
        """Have `hook` called at each effect."""
        self.truth.hook = self.publisher.hook = self.projections.hook = hook

    def fail_after(self, steps: int, error: type[BaseException]) -> None:
        """Raise the error at this many effects from now, once."""
        left = count(steps, -1)

        def hook(_: str) -> None:
            if next(left) == 0:
                raise error

        self.call(hook)

    def owner(self, topic: Topic, chunk: int) -> DecideCommands:
        """An agent of a process of its own: what it remembers is its own too."""
        return DecideCommands(
            topic,
            truth=slow(self.truth, self._turns),
            publisher=slow(self.publisher, self._turns),
            projections=self.projections,
            answers=self.answers,
            metrics=NoMetrics(),
            chunk=chunk,
        )

    async def run(self, log: list[c.AnyCommand], batch: int, chunk: int = 1_000) -> None:
        """One life of a process: work off what isn't committed, a topic after the other."""
        for topic in TOPICS:
            owner, commands = self.owner(topic, chunk), of_topic(log, topic)
            while (start := self.committed[topic.name]) < len(commands):
                end = min(start + batch, len(commands))
                await when_possible(owner, a_slice(topic, commands, start, end))
                self.committed[topic.name] = end

    def events(self) -> dict[tuple[str, int], list[bytes]]:
        """What a reader that skips repeats sees of each partition; their first sight must be in order."""
        seen: dict[tuple[str, int], list[bytes]] = {}
        for partition, records in self.publisher.logs.items():
            seen[partition] = list(dict.fromkeys(record.value or b"" for record in records))
        return seen

    def same_as(self, calm: "Fleet") -> None:
        """Nothing that lasts differs."""
        assert self.truth.documents == calm.truth.documents
        assert self.truth.stored == calm.truth.stored
        assert self.truth.credentials == calm.truth.credentials
        assert self.truth.secrets == calm.truth.secrets
        assert self.events() == calm.events()


def of_topic(log: list[c.AnyCommand], topic: Topic) -> list[c.AnyCommand]:
    return [command for command in log if topic_of(command) is topic]


def a_slice(topic: Topic, commands: list[c.AnyCommand], start: int, end: int) -> Slice[c.AnyCommand]:
    records = [MemoryRecord(offset, None, None) for offset in range(start, end)]
    return Slice(topic.name, 0, records, commands[start:end])


async def when_possible(owner: DecideCommands, part: Slice[c.AnyCommand]) -> None:
    """As every agent is called: again, while a store is down."""
    while True:
        try:
            return await owner.apply([part])
        except UnavailableError:
            await asyncio.sleep(0)


def calm_run(log: list[c.AnyCommand]) -> Fleet:
    fleet = Fleet()
    asyncio.run(fleet.run(log, 1))
    return fleet


logs = st.one_of(command_logs(), busy_logs(), session_logs())
turns = st.lists(st.integers(0, 3), max_size=12)
sizes = st.integers(1, 12)
failures = st.tuples(st.integers(0, 60), sizes, sizes, st.sampled_from((CrashError, UnavailableError)))


@settings(max_examples=400, deadline=None)
@given(logs, st.lists(failures, max_size=6), sizes, sizes, turns)
def test_crashes_change_nothing(log, failures, batch, chunk, turns) -> None:
    """Each life has batches of another size: what the last one left half done comes with other commands.

    Where a store was down the same process carries on.
    """
    calm, shaken = calm_run(log), Fleet(turns)
    for steps, *size, error in [*failures, (10_000, batch, chunk, CrashError)]:
        shaken.fail_after(steps, error)
        try:
            asyncio.run(shaken.run(log, *size))
        except CrashError:
            continue
    shaken.same_as(calm)
    assert shaken.answers.told == calm.answers.told


@settings(max_examples=100, deadline=None)
@given(logs, sizes, sizes, st.integers(0, 25))
def test_an_owner_that_starts_over_decides_nothing_anew(log, batch, chunk, overlap) -> None:
    """Whatever the one before has done since."""
    calm, both = calm_run(log), Fleet()
    asyncio.run(both.run(log, batch, chunk))
    both.committed = {name: max(0, offset - overlap) for name, offset in both.committed.items()}
    asyncio.run(both.run(log, batch, chunk))
    both.same_as(calm)


@settings(max_examples=400, deadline=None)
@given(logs, st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.tuples(turns, turns), st.integers(0, 10))
def test_two_owners_at_once_agree(log, batches, chunks, turns, ahead) -> None:
    """One doesn't know yet that it has lost the partition; the other begins, or ends, wherever it does."""
    calm, both = calm_run(log), Fleet(turns[0] + turns[1])

    async def work(owner: DecideCommands, topic: Topic, commands: list[c.AnyCommand], batch: int, wait: int) -> None:
        for _ in range(wait):
            await asyncio.sleep(0)
        for start in range(0, len(commands), batch):
            end = min(start + batch, len(commands))
            await when_possible(owner, a_slice(topic, commands, start, end))

    async def race() -> None:
        for topic in TOPICS:
            commands = of_topic(log, topic)
            first, second = (both.owner(topic, chunk) for chunk in chunks)
            await asyncio.gather(
                work(first, topic, commands, batches[0], 0), work(second, topic, commands, batches[1], ahead * 7)
            )

    asyncio.run(race())
    both.same_as(calm)


@settings(max_examples=300, deadline=None)
@given(
    logs,
    st.lists(st.tuples(st.integers(0, 2), sizes, st.integers(0, 4), st.booleans()), min_size=1, max_size=12),
)
def test_a_partition_that_goes_to_and_fro_is_decided_once(log, shifts) -> None:
    """Three processes live on, and keep what they remember while others have the partition; some offsets get lost."""
    calm, fleet = Fleet(), Fleet()
    owners = [{topic.name: fleet.owner(topic, 3) for topic in TOPICS} for _ in range(3)]

    async def work() -> None:
        seen: list[c.AnyCommand] = []
        for index, size, back, down in cycle(shifts):
            if len(seen) == len(log):
                return
            new, seen = log[len(seen) : len(seen) + size], log[: len(seen) + size]
            await calm.run(seen, 1)
            for topic in TOPICS:
                commands, end = of_topic(seen, topic), len(of_topic(seen, topic))
                start = max(0, end - len(of_topic(new, topic)) - back)
                if start < end:
                    fleet.fail_after(2 if down else 10_000, UnavailableError)
                    await when_possible(owners[index][topic.name], a_slice(topic, commands, start, end))

    asyncio.run(work())
    fleet.same_as(calm)
