"""A small fleet that is simulated: the real agents, tables and offset accounts over logs and stores in memory.

Every call to something outside waits at a gate until the test opens it, and the test says how it ends. So a process can
be killed between any two effects, an acknowledgement be lost behind an append, and a former owner of a partition come
late with its last writes. Time stands still but for what waits on it alone.
"""

import asyncio
import selectors
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar, copy_context
from typing import Any, NamedTuple

from agents.analytics import FoldTables
from agents.commands import DecideCommands
from agents.deliveries import DecideDeliveries
from agents.erasure import EraseRelations
from agents.inbox import FillInboxes
from agents.limiting import Limiter
from agents.notifications import DeliverInApp, Telling, on_events, on_notifications
from agents.processing import Processor
from agents.projections import ProjectEvents
from devconnect.domain.analytics import Row
from devconnect.domain.limits import Limits
from devconnect.events import commands as c
from devconnect.events.topics import (
    CONNECTION_COMMANDS,
    EVENT_TOPICS,
    INBOX_EVENTS,
    MESSAGE_COMMANDS,
    NOTIFICATION_EVENTS,
    USER_COMMANDS,
    USER_EVENTS,
    Topic,
    topic_of,
)
from devconnect.ports.metrics import NoMetrics
from devconnect.ports.publisher import DeadLetter, Record
from faust_batch.batch import Batch
from faust_batch.gather import Gatherer
from faust_batch.ledger import OffsetLedger
from faust_batch.table import BatchTable
from tables import analytics
from tables.views import ViewPublisher
from tests.delivery_fakes import MemoryDeliveries, MemoryDigests, MemoryFocus, MemoryOccasions
from tests.fakes import (
    ManualClock,
    MemoryAnswers,
    MemoryLetters,
    MemoryListings,
    MemoryProjections,
    MemoryRecord,
    MemoryRelations,
    MemoryTruth,
)
from tests.property.gates import PARTITIONS, Gated, GatedAnswers, GatedLog, GatedPublisher, Outcome, partition_of
from tests.property.inboxes import GatedFeed, GatedStore, Post
from tests.property.people import PEOPLE
from tests.table_fakes import MemoryLog, MemoryViews

COMMAND_TOPICS = (USER_COMMANDS, CONNECTION_COMMANDS, MESSAGE_COMMANDS)
#: Role -> the topics that it reads.
ROLES: Mapping[str, tuple[Topic, ...]] = {
    "commands": (*COMMAND_TOPICS, USER_EVENTS),
    "projections": EVENT_TOPICS,
    "notifications": (*EVENT_TOPICS, NOTIFICATION_EVENTS),
    "inbox": (INBOX_EVENTS,),
    "analytics": EVENT_TOPICS,
}

TP = tuple[str, int]


class Loop(asyncio.SelectorEventLoop):
    """Runs until everything waits for a gate. When all that is left to do is to wait for a time, it is that time."""

    def __init__(self) -> None:
        super().__init__(_Selector(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Go on until nothing can."""
        self.run_forever()


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            self._loop.stop()
        else:
            self._loop.now += timeout
        return super().select(0)


class Gate(NamedTuple):
    """A call that waits: what it is, and where its outcome goes."""

    label: str
    outcome: "asyncio.Future[Outcome]"


_current: ContextVar["Process"] = ContextVar("process")


class World:
    """Logs, stores and the accounts of the groups: what outlives every process."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.loop.set_task_factory(_task)
        self.logs: dict[TP, list[MemoryRecord]] = defaultdict(list)
        self.changelogs: dict[str, MemoryLog] = defaultdict(lambda: MemoryLog(chunk=3))
        self.truth, self.answers, self.projections = MemoryTruth(), MemoryAnswers(), MemoryProjections()
        self.listings = MemoryListings()
        self.deliveries, self.digests = MemoryDeliveries(self.truth), MemoryDigests(self.truth)
        self.occasions = MemoryOccasions()
        self.post = Post(PEOPLE)
        self.committed: dict[tuple[str, TP], int] = defaultdict(int)
        self.letters: list[DeadLetter] = []
        self.processes: dict[str, list[Process]] = {role: [] for role in ROLES}
        self.crashes: list[BaseException] = []
        #: Changelog, partition and offset of the records that compaction has removed.
        self.removed: set[tuple[str, int, int]] = set()
        #: Who was the last to write to a changelog's partition.
        self.writers: dict[TP, Process] = {}
        self._started = 0

    def append(self, tp: TP, records: Sequence[Record]) -> int:
        """Put records at the end of a log; the offset of the last."""
        log = self.logs[tp]
        for record in records:
            log.append(MemoryRecord(len(log), record.key, record.value, len(log)))
        return len(log) - 1

    def send(self, command: c.AnyCommand) -> None:
        """What the gateway does with a command."""
        topic = topic_of(command)
        assert topic.codec is not None
        self.append((topic.name, partition_of(command.key)), [Record(b"", topic.codec.encode(command))])

    def start(self, role: str) -> "Process":
        """A process joins its group."""
        self._started += 1
        process = Process(self, role, self._started)
        self.processes[role].append(process)
        self.rebalance(role)
        return process

    def members(self, role: str) -> list["Process"]:
        """Those that the group knows of."""
        return [process for process in self.processes[role] if process.member]

    def everybody(self) -> list["Process"]:
        """Every process that lives."""
        return [process for processes in self.processes.values() for process in processes]

    def rebalance(self, role: str, *, commit: bool = True) -> None:
        """Deal the partitions out anew; what is done is committed first, unless that fails."""
        members = self.members(role)
        if commit:
            for member in members:
                member.commit()
        for number, member in enumerate(members):
            share = {each for each in range(PARTITIONS) if each * len(members) // PARTITIONS == number}
            member.assign(share if len(members) <= PARTITIONS else {number} & set(range(PARTITIONS)))
        self.loop.settle()

    def compact(self) -> None:
        """A changelog keeps the last record of each key: once its partition's owner was the last to write.

        An owner that finds that somebody else has written in between puts right what is the older version by then.
        """
        for (topic, partition), writer in self.writers.items():
            records = self.changelogs[topic].partitions[partition]
            if writer.member and writer in self.processes[writer.role]:
                last = {record.key: record.offset for record in records}
                self.removed |= {
                    (topic, partition, record.offset) for record in records if record.offset < last[record.key]
                }

    def kill(self, process: "Process") -> None:
        """kill -9: the group finds out at once."""
        process.die()
        self.processes[process.role].remove(process)
        if process.member:
            self.rebalance(process.role)

    def close(self) -> None:
        """Let go of everything."""
        for process in self.everybody():
            process.die()
        self.loop.settle()
        self.loop.close()


class Process:
    """One worker: its memory is gone when it dies, and what it has at a gate then never happens."""

    def __init__(self, world: World, role: str, number: int) -> None:
        self.world, self.role, self.number = world, role, number
        #: False for one that was paused for longer than its session lasts, and doesn't know it.
        self.member = True
        self.gates: list[Gate] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.assigned: set[int] = set()
        self.tables: dict[str, BatchTable[Row]] = {}
        self._ledger: OffsetLedger[TP] = OffsetLedger()
        self._dead = False
        self._gatherers = self._within(self._wire)

    def __repr__(self) -> str:
        return f"<{self.role} {self.number}>"

    # -- what it is made of

    def _wire(self) -> dict[str, Gatherer]:
        publisher = GatedPublisher(self)

        def processor(step: Any) -> Processor[Any]:
            limiter = Limiter(step.name, Limits(), MemoryLetters(publisher))
            return Processor(step, publisher, NoMetrics(), ManualClock(), limiter)

        return {topic.name: Gatherer(processor(step), self._crashed) for topic, step in _steps(self, publisher)}

    async def _crashed(self, error: BaseException) -> None:
        self.world.crashes.append(error)

    def _within(self, work: Callable[[], Any]) -> Any:
        """Do it in the loop, then go on until all waits; tasks that it starts are this process's own."""
        done: asyncio.Future[Any] = self.world.loop.create_future()

        def call() -> None:
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)

        context = copy_context()
        context.run(_current.set, self)
        self.world.loop.call_soon(call, context=context)
        self.world.loop.settle()
        return done.result()

    async def gate(self, label: str) -> Outcome:
        """Wait until the test lets the call happen."""
        if self._dead:
            await asyncio.Event().wait()
        gate = Gate(label, self.world.loop.create_future())
        self.gates.append(gate)
        try:
            return await gate.outcome
        finally:
            if gate in self.gates:
                self.gates.remove(gate)

    # -- what happens to it

    def open(self, number: int, outcome: Outcome) -> None:
        """Let a waiting call happen, and go on until all wait again."""
        gate = self.gates.pop(number % len(self.gates))
        gate.outcome.set_result(outcome)
        self.world.loop.settle()

    def run(self) -> None:
        """Let every call succeed until there are no more."""
        while self.gates:
            self.open(0, "done")

    def die(self) -> None:
        """Nothing of it happens from here on."""
        self._dead = True
        self.gates.clear()
        for task in list(self.tasks):
            task.cancel()
        self.world.loop.settle()

    # -- its consumer

    def assign(self, partitions: set[int]) -> None:
        """These are ours now; reading starts at what is committed."""
        topics = ROLES[self.role]
        self._ledger.forget((topic.name, number) for topic in topics for number in self.assigned)
        self.assigned = partitions
        for tp in ((topic.name, number) for topic in topics for number in partitions):
            self._ledger.reset(tp, self.world.committed[self.role, tp])
        self._within(lambda: [table.assign(partitions) for table in self.tables.values()])

    def fetch(self, tp: TP, most: int) -> bool:
        """Hand a batch of a partition to its agent; False when there is nothing more to read."""
        start = self._ledger.position(tp) or 0
        records = self.world.logs[tp][start : start + most]
        if not records:
            return False
        ticket = self._ledger.hand_out(tp, records[-1].offset + 1)
        batch = Batch(
            *tp,
            records,
            acknowledge=lambda: self._note(tp, ticket),
            is_current=lambda: self._ledger.is_open(tp, ticket),
            hold=_never,
            release=_never,
        )
        self._within(lambda: self.world.loop.create_task(self._gatherers[tp[0]].put(batch)))
        return True

    def _note(self, tp: TP, ticket: Any) -> None:
        self._ledger.acknowledge(tp, ticket)

    def commit(self) -> None:
        """Move the group's offsets; the broker turns away who isn't in the group any more."""
        if not self.member:
            return
        for tp, offset in self._ledger.committable().items():
            self.world.committed[self.role, tp] = offset
            self._ledger.committed(tp, offset)

    def sources(self) -> list[TP]:
        """What it reads."""
        return [(topic.name, number) for topic in ROLES[self.role] for number in sorted(self.assigned)]


def _steps(process: Process, publisher: "GatedPublisher") -> list[tuple[Topic, Any]]:
    """The agents of a role, wired as its worker does it."""
    world = process.world
    truth: Any = Gated(process, "truth", world.truth)
    projections: Any = Gated(process, "projections", world.projections)
    match process.role:
        case "commands":
            more: Any = {"truth": truth, "publisher": publisher, "projections": projections}
            more |= {"answers": GatedAnswers(process), "metrics": NoMetrics()}
            relations: Any = Gated(process, "reads", MemoryRelations(world.truth))
            return [
                *((topic, DecideCommands(topic, **more)) for topic in COMMAND_TOPICS),
                (USER_EVENTS, EraseRelations(relations, publisher)),
            ]
        case "projections":
            return [(topic, ProjectEvents(topic, projections)) for topic in EVENT_TOPICS]
        case "notifications":
            deliver = DeliverInApp(truth, projections, publisher)
            listings: Any = Gated(process, "listings", world.listings)
            deliveries: Any = Gated(process, "deliveries", world.deliveries)
            occasions: Any = Gated(process, "occasions", world.occasions)
            digests: Any = Gated(process, "digests", world.digests)
            known = Telling(truth, occasions, deliveries, digests)
            decide = DecideDeliveries(
                truth=truth,
                deliveries=deliveries,
                focus=MemoryFocus(),
                publisher=publisher,
                clock=ManualClock(),
                metrics=NoMetrics(),
            )
            return [
                *((topic, on_events(topic, publisher, listings, known)) for topic in EVENT_TOPICS),
                (NOTIFICATION_EVENTS, on_notifications(deliver, decide)),
            ]
        case "inbox":
            feed, store = GatedFeed(process, world.post.near), GatedStore(process, world.post.far)
            return [(INBOX_EVENTS, FillInboxes(feed, store, NoMetrics()))]
        case _:
            views = ViewPublisher(MemoryViews())
            process.tables.update(
                analytics.build(
                    lambda topic: GatedLog(process, topic),
                    lambda name: lambda partition, offsets: None,
                    lambda name: _nothing_is_unreadable,
                    world.crashes.append,
                )
            )
            return [(topic, FoldTables(topic, process.tables, views, NoMetrics())) for topic in EVENT_TOPICS]


def _never(*_: Any) -> Any:
    raise AssertionError("nothing is bad, so no partition is stopped")


async def _nothing_is_unreadable(partition: int, bad: Any) -> None:
    raise AssertionError(bad)


def _task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(coro, loop=loop, **more)
    process = _current.get(None)
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task
