"""Windows are published once, with totals that are right, whatever dies, moves, comes again or lags in between."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from hypothesis import given, settings, strategies as st

from agents.analytics import FoldTables
from agents.processing import Slice
from agents.windows import MARGIN_MS, CloseWindows, MergeWindows, Sources
from devconnect.domain import analytics
from devconnect.domain.analytics import DAY_MS, HOUR_MS, MINUTE_MS, WINDOWED, Row, Table, touches
from devconnect.events import facts as f
from devconnect.events.base import pair_id, seq_of
from devconnect.events.topics import (
    ANALYTICS_PARTS,
    CONNECTION_EVENTS,
    EVENT_TOPICS,
    MESSAGE_EVENTS,
    Topic,
    analytics_parts,
)
from devconnect.ports.truth import UnavailableError
from devconnect.ports.windows import Progress
from faust_batch.table import BatchTable
from tables.analytics import RowCodec
from tables.views import ViewPublisher
from tests.fakes import CrashError, ManualClock, MemoryMetrics, MemoryPublisher, MemoryRecord, no_hook
from tests.table_fakes import MemoryLog, MemoryViews, MemoryWindowLog, MemoryWindows

PARTITIONS = 2
GRACE_MS = 5_000
#: An event may be accepted so much later than its `at` says, and is in time all the same.
JITTER_MS = min(GRACE_MS, MARGIN_MS)
#: Seven in the morning.
START = 19_700 * DAY_MS + 7 * HOUR_MS
USERS = ("ann", "bob", "cem", "dea")
Place = tuple[str, int]
PLACES: tuple[Place, ...] = tuple((topic.name, number) for topic in EVENT_TOPICS for number in range(PARTITIONS))
TOPICS = {topic.name: topic for topic in EVENT_TOPICS}


class World(Progress):
    """What outlives every worker: Kafka, and the command agents, who decide when they get to it."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.publisher = MemoryPublisher()
        self.windows = MemoryWindows(self.publisher)
        self.changelogs = {name: MemoryLog(chunk=1_000) for name in analytics.TABLES}
        #: What was accepted, as the events that follow, and how much of it is decided: its events are written.
        self.accepted: dict[Place, list[Any]] = {place: [] for place in PLACES}
        self.decided: dict[Place, int] = dict.fromkeys(PLACES, 0)
        #: How far the analytics workers are.
        self.offsets: dict[Place, int] = dict.fromkeys((*PLACES, (ANALYTICS_PARTS.name, 0)), 0)

    def accept(self, place: Place, number: int) -> None:
        log = self.accepted[place]
        log.append(event(TOPICS[place[0]], len(log), number, self.clock.now - number % (JITTER_MS + 1)))

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        if topic in TOPICS:
            return {number: self.decided[topic, number] for number in partitions}
        return {number: len(self.accepted[topic.replace("commands", "events"), number]) for number in partitions}

    async def committed(self, group: str, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        return {number: self.decided[topic.replace("commands", "events"), number] for number in partitions}


def event(topic: Topic, offset: int, number: int, at: int) -> f.AnyEvent:
    """The event of the command at this offset."""
    one, other = USERS[number % 4], USERS[(number + 1 + number // 4 % 3) % 4]
    common: dict[str, Any] = {"id": f"{topic.name}{offset}.0", "seq": seq_of(offset), "at": at}
    if topic is MESSAGE_EVENTS:
        talk = {"conversation": pair_id(one, other), "message": f"m{offset}", "text": "-", "previous": 0}
        return f.MessageSent(**common, **talk, sender=one, recipient=other)
    if topic is CONNECTION_EVENTS:
        return f.ConnectionAccepted(**common, by=one, other=other)
    return f.UserLoggedIn(**common, user=one, session="s", expires_at=at + DAY_MS)


class Life:
    """One analytics worker, from its start to its end. What it knows is in its own memory, and may be out of date."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.metrics = MemoryMetrics()
        self.positions = dict(world.offsets)
        self.tables: dict[str, BatchTable[Row]] = {
            name: BatchTable(name, log, RowCodec()) for name, log in world.changelogs.items()
        }
        self.views = ViewPublisher(MemoryViews())
        self.views.watch(self.tables)
        self.log = MemoryWindowLog(world.windows)
        self.folds = {topic.name: FoldTables(topic, self.tables, self.views, self.metrics) for topic in EVENT_TOPICS}
        self.closers = {name: self._closer(fold, TOPICS[name]) for name, fold in self.folds.items()}
        self.merger = MergeWindows(self.log, PARTITIONS, lambda: True, metrics=self.metrics, clock=world.clock)

    def _closer(self, fold: FoldTables, topic: Topic) -> CloseWindows:
        sources = Sources(
            topic,
            self.world,
            self.world.clock,
            decided_by="-",
            folded=lambda partition: self.positions[topic.name, partition],
        )
        return CloseWindows(
            fold,
            sources,
            self.tables,
            views=self.views,
            publisher=self.world.publisher,
            metrics=self.metrics,
            grace_ms=GRACE_MS,
        )

    async def start(self) -> "Life":
        for table in self.tables.values():
            table.assign(range(PARTITIONS))
        for table in self.tables.values():
            for number in range(PARTITIONS):
                await table.rows(number)
        return self

    async def fold(self, place: Place, most: int) -> None:
        """What the batch transport brings, `most` events of it."""
        start = self.positions[place]
        found = self.world.accepted[place][start : min(start + most, self.world.decided[place])]
        if found:
            records = [MemoryRecord(start + n, None, None) for n in range(len(found))]
            await self.folds[place[0]].apply([Slice(place[0], place[1], records, found)])
            self.positions[place] = start + len(found)

    async def tick(self) -> None:
        for closer in self.closers.values():
            await closer.tick()

    async def merge(self) -> None:
        place = ANALYTICS_PARTS.name, 0
        start = self.positions[place]
        records = self.world.windows.parts[start:]
        if records:
            values = [analytics_parts.decode(record.value) for record in records]
            found = [MemoryRecord(start + n, None, None) for n in range(len(values))]
            await self.merger.apply([Slice(*place, found, values)])
            self.positions[place] = start + len(values)

    def commit(self) -> None:
        for place, position in self.positions.items():
            self.world.offsets[place] = max(position, self.world.offsets[place])


def counted(world: World, table: Table) -> dict[str, Any]:
    """The table's windows by an independent count of what was accepted: no window without an event."""
    sums: dict[str, Counter[str]] = {}
    members: dict[str, set[str]] = {}
    for place in PLACES:
        for each in world.accepted[place]:
            for name, delta in touches(table, each):
                window, _, member = name.partition("|")
                members.setdefault(window, set()).add(member)
                sums.setdefault(window, Counter()).update(dict(zip(table.columns, delta, strict=True)))
    if table.shape == "distinct":
        return {window: {table.columns[0]: len(found)} for window, found in members.items()}
    return {window: {column: found[column] for column in table.columns} for window, found in sums.items()}


async def shown(world: World, table: Table) -> tuple[dict[str, Any], int]:
    """What `tables show` makes of the changelog, and how far back it goes."""
    rows: list[tuple[str, analytics.Values]] = []
    for number in range(PARTITIONS):
        kept = {}
        for record in world.changelogs[table.name].partitions.get(number, []):
            kept[record.key] = record.value
        rows += [(key.decode(), analytics.decode_row(data).values) for key, data in kept.items() if key and data]
    marks = [values[0] for key, values in rows if analytics.is_mark(key)]
    view = analytics.merge(table, rows)
    floor = max(marks, default=0) - table.keep_ms
    return {name: dict(zip(table.columns, values, strict=True)) for name, values in view.items()}, floor


class Run:
    """Plays a list of steps with one worker that counts, and its predecessors that may not know that they don't."""

    def __init__(self) -> None:
        self.world = World()
        self.lives: list[Life] = []
        self.late = 0

    async def play(self, steps: list[tuple[str, int]]) -> None:
        self.lives.append(await Life(self.world).start())
        for name, number in steps:
            await self._step(name, number)

    async def _step(self, name: str, number: int) -> None:
        life = self.lives[-1]
        await {
            "accept": self._accept,
            "happen": self._happen,
            "round": self._round,
            "decide": self._decide,
            "decide all": self._decide_all,
            "fold": lambda number: life.fold(PLACES[number % len(PLACES)], 1 + number % 5),
            "fold all": self._fold_all,
            "wait": self._wait,
            "tick": lambda _: life.tick(),
            "merge": lambda _: self._try(life, life.merge(), 0),
            "commit": self._commit,
            "crash": self._crash,
            "move": self._move,
            "late owner": self._late_owner,
        }[name](number)

    async def _accept(self, number: int) -> None:
        for each in range(1 + number % 3):
            self.world.accept(PLACES[number % len(PLACES)], number + each)

    async def _happen(self, number: int) -> None:
        """Accepted, decided and counted at once."""
        await self._accept(number)
        await self._decide(number)
        await self.lives[-1].fold(PLACES[number % len(PLACES)], 1 + number % 5)

    async def _round(self, number: int) -> None:
        """Some time goes by, and its windows close."""
        await self._wait(number)
        await self._decide_all()
        await self._fold_all()
        await self.lives[-1].tick()
        await self._try(self.lives[-1], self.lives[-1].merge(), 0)

    async def _decide(self, number: int) -> None:
        place = PLACES[number % len(PLACES)]
        self.world.decided[place] = min(len(self.world.accepted[place]), self.world.decided[place] + 1 + number % 4)

    async def _decide_all(self, _: int = 0) -> None:
        for place, log in self.world.accepted.items():
            self.world.decided[place] = len(log)

    async def _fold_all(self, _: int = 0) -> None:
        for place in PLACES:
            await self.lives[-1].fold(place, 10_000)

    async def _wait(self, number: int) -> None:
        self.world.clock.now += (700, 3_000, 20_000, MINUTE_MS, HOUR_MS, DAY_MS, 9 * DAY_MS)[number % 7]

    async def _commit(self, _: int) -> None:
        self.lives[-1].commit()

    async def _move(self, _: int) -> None:
        self.lives.append(await Life(self.world).start())

    async def _late_owner(self, number: int) -> None:
        """One who has lost the partitions goes on for a moment."""
        life = self.lives[number % len(self.lives)]
        await self._try(life, life.tick() if number % 2 else life.merge(), 0)

    async def _crash(self, number: int) -> None:
        """The worker dies in the middle of closing or of publishing, and another one takes over."""
        life = self.lives[-1]
        await self._wait(number // 7)
        dies_at = 1 + number % 40
        if number % 3:
            await self._decide_all()
            await self._fold_all()
        if number % 2:
            await self._try(life, life.tick(), dies_at)
        else:
            await life.tick()
            await self._try(life, life.merge(), 1 + dies_at % 5)
        self.lives[-1] = await Life(self.world).start()

    async def _try(self, life: Life, work: Any, dies_at: int) -> None:
        """Do it, or die at the so many-eth effect (0: at none)."""
        steps = 0

        def hook(_: str) -> None:
            nonlocal steps
            steps += 1
            if steps == dies_at:
                raise CrashError

        self.world.publisher.hook = life.log.hook = hook
        try:
            await work
        except (CrashError, UnavailableError):
            pass
        finally:
            self.world.publisher.hook = life.log.hook = no_hook

    async def finish(self) -> None:
        """Everything comes to rest, and its windows close."""
        self.world.clock.now += 2 * DAY_MS
        await self._decide_all()
        await self._fold_all()
        await self.lives[-1].tick()
        for _ in range(3):
            # Who is fenced off begins again.
            try:
                await self.lives[-1].merge()
            except UnavailableError:
                continue
        self.late = sum(
            count for life in self.lives for (name, *_), count in life.metrics.counts.items() if "late" in name
        )


STEPS = (
    *("happen", "happen", "accept", "wait", "tick", "merge", "crash") * 2,
    *("round", "decide", "fold", "decide all", "fold all", "commit", "move", "late owner"),
)
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10_000)), min_size=10, max_size=50)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_every_window_is_published_once_with_what_was_counted_independently(steps: list[tuple[str, int]]) -> None:
    async def check() -> None:
        run = Run()
        await run.play(steps)
        await run.finish()
        events = run.world.windows.events
        assert max(Counter(event.key for event in events).values(), default=1) == 1
        for table in WINDOWED.values():
            found = {str(event.window): event.values for event in events if event.table == table.name}
            assert found == counted(run.world, table)
        assert run.late == 0

    asyncio.run(check())


@settings(max_examples=200, deadline=None)
@given(steps)
def test_tables_are_exact_as_far_back_as_they_go(steps: list[tuple[str, int]]) -> None:
    async def check() -> None:
        run = Run()
        await run.play(steps)
        await run.finish()
        for table in WINDOWED.values():
            view, floor = await shown(run.world, table)
            expected = counted(run.world, table)
            assert view == {name: expected[name] for name in expected if int(name) + table.window_ms > floor}

    asyncio.run(check())
