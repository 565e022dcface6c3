"""What closing writes, when a window is whole, and how the agents begin again: the cases by name."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from agents import windows as agent_module
from agents.analytics import FoldTables
from agents.processing import Slice
from agents.windows import CloseWindows, MergeWindows, Sources
from devconnect.domain import windows as windows_module
from devconnect.domain.analytics import (
    ACTIVE_USERS,
    DAILY_TOTALS,
    DAY_MS,
    HOUR_MS,
    MESSAGES_PER_MINUTE,
    MINUTE_MS,
    TABLES,
    Row,
    Table,
    mark,
)
from devconnect.domain.windows import Closing, Merge, closable
from devconnect.events.base import pair_id, seq_of
from devconnect.events.facts import MessageSent
from devconnect.events.parts import AnyPart, Closed, Erased, Part, Published
from devconnect.events.topics import ANALYTICS_PARTS, MESSAGE_EVENTS, USER_EVENTS, analytics_parts
from devconnect.ports.truth import UnavailableError
from devconnect.ports.windows import Progress
from faust_batch.batch import RevokedError
from faust_batch.table import BatchTable
from tables.analytics import RowCodec
from tables.views import ViewPublisher
from tests.fakes import CrashError, ManualClock, MemoryMetrics, MemoryPublisher, MemoryRecord, no_hook
from tests.table_fakes import MemoryLog, MemoryViews, MemoryWindowLog, MemoryWindows
from tests.waiting import until
from workers.analytics import folded_here

DAY = 19_700 * DAY_MS
TOPIC = MESSAGE_EVENTS.name


def closing(table: Table, rows: dict[str, Row], *, since: int, until: int) -> Closing:
    found = Closing(table, TOPIC, "m", since=since, until=until)
    found.take(rows, rows)
    return found


def part(table: Table, window: int, *, partition: int = 0, topic: str = TOPIC, **fields: object) -> Part:
    return Part(table=table.name, window=window, topic=topic, partition=partition, at=1, **fields)


def closed(table: Table, until: int, *, partition: int = 0, topic: str = TOPIC) -> Closed:
    return Closed(table=table.name, topic=topic, partition=partition, until=until)


# -- closing


@pytest.mark.parametrize(("watermark", "until"), [(DAY, -MINUTE_MS), (DAY + 4_999, -MINUTE_MS), (DAY + 5_000, 0)])
def test_a_window_may_be_closed_when_the_grace_period_is_over(watermark: int, until: int) -> None:
    assert closable(MESSAGES_PER_MINUTE, watermark, 5_000) == DAY + until


def test_closing_gives_the_parts_of_windows_since_the_last_one_and_then_says_so() -> None:
    rows = {
        **{f"m|{DAY + n * MINUTE_MS}": Row((n + 1,), n) for n in range(4)},
        f"u|{DAY + MINUTE_MS}": Row((9,), 9),
        "~m": mark(DAY + MINUTE_MS),
    }
    found = closing(MESSAGES_PER_MINUTE, rows, since=DAY + MINUTE_MS, until=DAY + 3 * MINUTE_MS)
    assert list(found.parts(0, 1)) == [
        part(MESSAGES_PER_MINUTE, DAY + MINUTE_MS, values=(2,), seq=1),
        part(MESSAGES_PER_MINUTE, DAY + 2 * MINUTE_MS, values=(3,), seq=2),
        closed(MESSAGES_PER_MINUTE, DAY + 3 * MINUTE_MS),
    ]
    assert found.changes() == {"~m": mark(DAY + 3 * MINUTE_MS)}
    assert (len(found), found.gone) == (2, 0)


def test_members_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "CHUNK", 2)
    rows = {f"m|{DAY}|{name}": Row((1,), 1) for name in "abcde"}
    *found, last = closing(ACTIVE_USERS, rows, since=0, until=DAY + HOUR_MS).parts(3, 1)
    assert last == closed(ACTIVE_USERS, DAY + HOUR_MS, partition=3)
    assert [each.members for each in found if isinstance(each, Part)] == [("a", "b"), ("c", "d"), ("e",)]
    assert len({each.key for each in found}) == 3


def test_what_is_further_back_than_the_table_keeps_goes_behind_the_mark() -> None:
    """The mark first: were the tombstones alone in the changelog, a replay would bring the rows back."""
    rows = {f"m|{DAY + n * MINUTE_MS}": Row((1,), 1) for n in range(3)}
    until = DAY + 2 * MINUTE_MS + MESSAGES_PER_MINUTE.keep_ms
    found = closing(MESSAGES_PER_MINUTE, rows, since=until - MINUTE_MS, until=until)
    assert list(found.changes().items()) == [("~m", mark(until)), *dict.fromkeys(list(rows)[:2]).items()]
    assert found.gone == 2


# -- merging


def merged(*parts: AnyPart, partitions: int = 1) -> Merge:
    found = Merge(partitions)
    found.take(parts)
    return found


def totals(merge: Merge) -> dict[int, dict[str, int]]:
    publication = merge.due(7, 100)
    return {event.window: event.values for event in publication.events} if publication else {}


def test_a_window_is_whole_when_every_partition_of_every_source_is_closed_beyond_it() -> None:
    merge = merged(part(DAILY_TOTALS, DAY, values=(0, 0, 0, 5), seq=1), partitions=2)
    places = [(topic, number) for topic in DAILY_TOTALS.sources for number in range(2)]
    assert len(places) == 6
    for topic, number in places:
        assert totals(merge) == {}
        merge.take([closed(DAILY_TOTALS, DAY + DAY_MS - 1, topic=topic, partition=number)])
        assert totals(merge) == {}
        merge.take([closed(DAILY_TOTALS, DAY + DAY_MS, topic=topic, partition=number)])
    assert totals(merge) == {DAY: {"sign_ups": 0, "log_ins": 0, "connections": 0, "messages": 5}}


def test_parts_of_sources_add_up_and_one_that_comes_again_takes_the_place_of_an_older_one() -> None:
    merge = merged(
        part(MESSAGES_PER_MINUTE, DAY, values=(2,), seq=20),
        part(MESSAGES_PER_MINUTE, DAY, values=(1,), seq=10),
        part(MESSAGES_PER_MINUTE, DAY, partition=1, values=(5,), seq=1),
        part(MESSAGES_PER_MINUTE, DAY, partition=1, values=(7,), seq=2),
        *(closed(MESSAGES_PER_MINUTE, DAY + MINUTE_MS, partition=number) for number in range(2)),
        partitions=2,
    )
    assert totals(merge) == {DAY: {"count": 9}}


def test_a_member_counts_once_whoever_names_it() -> None:
    merge = merged(
        part(ACTIVE_USERS, DAY, members=("a", "b")),
        part(ACTIVE_USERS, DAY, members=("b", "c"), topic="user-events"),
        *(closed(ACTIVE_USERS, DAY + HOUR_MS, topic=topic) for topic in ACTIVE_USERS.sources),
    )
    assert totals(merge) == {DAY: {"users": 3}}


def test_what_is_published_is_not_due_again_and_its_parts_are_erased() -> None:
    one = part(MESSAGES_PER_MINUTE, DAY, values=(2,), seq=20)
    merge = merged(one, closed(MESSAGES_PER_MINUTE, DAY + 9 * MINUTE_MS))
    publication = merge.due(7, 100)
    assert publication is not None
    assert publication.published == [Published(table=one.table, until=DAY + 9 * MINUTE_MS)]
    assert publication.erased == [one.key]
    merge.settle(publication)
    merge.take([one])
    assert merge.due(7, 100) is None
    follows = part(MESSAGES_PER_MINUTE, DAY + 9 * MINUTE_MS, values=(1,), seq=30)
    merge.take([follows, closed(MESSAGES_PER_MINUTE, DAY + DAY_MS)])
    again = merge.due(7, 100)
    assert again is not None
    assert [event.window for event in again.events] == [follows.window]
    assert again.erased == sorted([one.key, follows.key])


def test_parts_that_come_again_and_are_read_before_it_is_said_that_they_are_published_are_erased() -> None:
    one = part(MESSAGES_PER_MINUTE, DAY, values=(2,), seq=20)
    follows = part(MESSAGES_PER_MINUTE, DAY + MINUTE_MS, values=(1,), seq=30)
    said_so = Published(table=one.table, until=DAY + MINUTE_MS)
    publication = merged(one, said_so, follows, closed(MESSAGES_PER_MINUTE, DAY + DAY_MS)).due(7, 100)
    assert publication is not None
    assert [event.window for event in publication.events] == [follows.window]
    assert publication.erased == sorted([one.key, follows.key])


def test_many_windows_are_published_the_oldest_first_a_few_at_a_time_and_a_successor_goes_on_from_there() -> None:
    parts = {n: part(MESSAGES_PER_MINUTE, DAY + n * MINUTE_MS, values=(n,), seq=n) for n in reversed(range(5))}
    whole = closed(MESSAGES_PER_MINUTE, DAY + DAY_MS)
    merge = merged(*parts.values(), whole)
    found = []
    while (publication := merge.due(7, 2)) is not None:
        found.append([(event.window - DAY) // MINUTE_MS for event in publication.events])
        # Whatever was there comes again: it is not what counts.
        merge = merged(*parts.values(), *publication.published, whole)
    assert found == [[0, 1], [2, 3], [4]]


# -- the agents


def test_rows_are_kept_where_their_events_are_folded_and_not_where_parts_are_merged() -> None:
    assert folded_here({ANALYTICS_PARTS.name: {0}}) == set()
    assert folded_here({ANALYTICS_PARTS.name: {0}, MESSAGE_EVENTS.name: {1, 2}, USER_EVENTS.name: {1, 2}}) == {1, 2}


class World:
    """An analytics worker of one partition, in parts."""

    def __init__(self) -> None:
        self.metrics = MemoryMetrics()
        self.windows = MemoryWindows(MemoryPublisher())
        self.log = MemoryWindowLog(self.windows)
        self.owns = True
        self.merger = MergeWindows(
            self.log, 1, lambda: self.owns, metrics=self.metrics, clock=ManualClock(DAY + DAY_MS)
        )

    async def merge(self, *parts: AnyPart | Erased) -> None:
        records = [MemoryRecord(number, None, None) for number in range(len(parts))]
        await self.merger.apply([Slice(ANALYTICS_PARTS.name, 0, records, parts)])

    def published(self) -> list[int]:
        return [event.window for event in self.windows.events]


WHOLE = [part(MESSAGES_PER_MINUTE, DAY, values=(1,), seq=1), closed(MESSAGES_PER_MINUTE, DAY + MINUTE_MS)]


async def test_who_was_overtaken_begins_again_and_knows_what_the_other_has_published() -> None:
    world, other = World(), World()
    other.log = MemoryWindowLog(world.windows)
    other.merger = MergeWindows(other.log, 1, lambda: True, metrics=other.metrics, clock=ManualClock())
    await world.merge()
    await other.merge(*WHOLE)
    with pytest.raises(UnavailableError):
        await world.merge(*WHOLE)
    await world.merge(*WHOLE)
    assert world.published() == [DAY]
    assert world.metrics.counts["windows_published", "messages_per_minute"] == 0
    assert other.metrics.counts["windows_published", "messages_per_minute"] == 1


async def test_a_transaction_of_which_nothing_is_known_is_looked_for_before_it_is_repeated() -> None:
    world = World()

    def die(step: str) -> None:
        if step == "committed":
            world.log.hook = no_hook
            raise CrashError

    world.log.hook = die
    with pytest.raises(CrashError):
        await world.merge(*WHOLE)
    await world.merge(*WHOLE)
    assert world.published() == [DAY]


async def test_what_was_said_of_publishing_and_never_committed_is_not_believed() -> None:
    world = World()
    await world.merge(Published(table="messages_per_minute", until=DAY + DAY_MS), Erased(), *WHOLE)
    assert world.published() == [DAY]


async def test_who_does_not_have_the_partition_leaves_it_alone() -> None:
    world = World()
    world.owns = False
    with pytest.raises(RevokedError):
        await world.merge(*WHOLE)
    assert world.windows.epoch == 0


class Idle(Progress):
    """Command agents that have done everything, and events of which so many are there; down while `down` is set."""

    def __init__(self) -> None:
        self.events = self.asked = 0
        self.down = False

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        self.asked += 1
        if self.down:
            raise UnavailableError("down")
        return dict.fromkeys(partitions, self.events if topic == TOPIC else 0)

    async def committed(self, group: str, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, 0)


class Closer:
    """An analytics worker that closes the windows of message events, of one partition."""

    def __init__(self) -> None:
        self.clock, self.metrics, self.publisher = ManualClock(DAY + HOUR_MS), MemoryMetrics(), MemoryPublisher()
        self.progress = Idle()
        self.logs = {name: MemoryLog() for name in TABLES}
        self.tables = {name: BatchTable(name, log, RowCodec()) for name, log in self.logs.items()}
        self.shown = MemoryViews()
        self.views = ViewPublisher(self.shown)
        self.views.watch(self.tables)
        self.fold = FoldTables(MESSAGE_EVENTS, self.tables, self.views, self.metrics)
        self.folded = 0
        self.closer = CloseWindows(
            self.fold,
            Sources(MESSAGE_EVENTS, self.progress, self.clock, decided_by="-", folded=lambda _: self.folded),
            self.tables,
            views=self.views,
            publisher=self.publisher,
            metrics=self.metrics,
            grace_ms=5_000,
        )

    def assign(self) -> None:
        for table in self.tables.values():
            table.assign([0])

    async def count(self, *events: MessageSent) -> None:
        await self.fold.apply([Slice(TOPIC, 0, [], events)])

    def parts(self) -> list[AnyPart]:
        """What was given of minutes, in order."""
        found = [analytics_parts.decode(each.value) for each in self.publisher.logs.get((ANALYTICS_PARTS.name, 0), [])]
        return [each for each in found if not isinstance(each, Erased) and each.table == "messages_per_minute"]


async def test_closing_waits_for_what_is_being_folded() -> None:
    given = Closer()
    given.assign()
    await given.count(said(0, DAY))
    log = given.logs["messages_per_minute"]
    log.acknowledging.clear()
    folding = asyncio.create_task(given.count(said(1, DAY + 1)))
    await asyncio.sleep(0)
    given.fold.watermarks[0] = DAY + HOUR_MS
    closing = asyncio.create_task(given.closer.tick())
    for _ in range(20):
        await asyncio.sleep(0)
    assert given.parts() == []
    log.acknowledging.set()
    await asyncio.gather(folding, closing)
    first, last = given.parts()
    assert isinstance(first, Part)
    assert first.values == (2,)
    assert last == closed(MESSAGES_PER_MINUTE, DAY + HOUR_MS - MINUTE_MS)


async def test_what_is_let_go_of_leaves_the_changelog_the_memory_and_the_view_and_is_told() -> None:
    given = Closer()
    given.assign()
    name = MESSAGES_PER_MINUTE.name
    old = DAY - MESSAGES_PER_MINUTE.keep_ms
    publishing = asyncio.create_task(given.views.run())
    await given.count(said(0, old), said(1, DAY))
    await until(lambda: (name, 0) in given.shown.upto)
    given.folded = given.progress.events = 2
    await given.closer.tick()
    records = given.logs[name].partitions[0]
    assert [each.key for each in records if each.value is None] == [f"m|{old}".encode()]
    assert set(await given.tables[name].rows(0)) == {f"m|{DAY}", "~m"}
    await until(lambda: name in given.shown.floors)
    assert given.metrics.counts["windows_closed", name] == 2
    assert given.metrics.counts["window_rows_expired", name] == 1
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)


@pytest.mark.parametrize(("spare", "closes"), [(-1, False), (0, True)])
async def test_where_a_partition_stands_still_the_clock_counts_a_margin_behind(spare: int, closes: bool) -> None:
    given = Closer()
    given.assign()
    await given.count(said(0, DAY))
    given.folded = given.progress.events = 1
    given.clock.now = DAY + MINUTE_MS + agent_module.MARGIN_MS + 5_000 + spare
    await given.closer.tick()
    assert (closed(MESSAGES_PER_MINUTE, DAY + MINUTE_MS) in given.parts()) is closes


async def test_looking_through_many_rows_gives_the_loop_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "SLICE", 1)
    given = Closer()
    given.assign()
    await given.count(*(said(number, DAY + number * MINUTE_MS) for number in range(50)))
    given.folded = given.progress.events = 50
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    await given.closer.tick()
    running.cancel()
    assert turns >= 50


async def test_a_table_that_is_being_restored_is_left_alone() -> None:
    given = Closer()
    log = given.logs["messages_per_minute"]
    await log.append(0, [(f"m|{DAY}".encode(), RowCodec().encode(Row((1,), 1)))])
    log.reading.clear()
    given.assign()
    async with asyncio.timeout(5):
        await given.closer.tick()
    assert given.parts() == []
    log.reading.set()
    await given.tables["messages_per_minute"].rows(0)
    await given.closer.tick()
    assert len(given.parts()) == 2


async def test_windows_wait_where_nobody_knows_how_far_the_others_are_and_close_when_somebody_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_module, "TICK_SECONDS", 0.001)
    given = Closer()
    given.progress.down = True
    given.assign()
    await given.count(said(0, DAY))
    given.folded = given.progress.events = 1
    running = asyncio.create_task(given.closer.run())
    await until(lambda: given.progress.asked > 2)
    assert given.parts() == []
    given.progress.down = False
    await until(lambda: bool(given.parts()))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_event_of_the_future_closes_nothing_ahead_of_the_clock() -> None:
    given = Closer()
    given.assign()
    await given.count(said(0, DAY), said(1, DAY + DAY_MS))
    given.progress.events = 3
    await given.closer.tick()
    assert given.parts()[-1] == closed(MESSAGES_PER_MINUTE, DAY + HOUR_MS - MINUTE_MS)


async def test_how_far_windows_are_published_is_told() -> None:
    world = World()
    await world.merge(*WHOLE)
    assert world.metrics.gauges["windows_published_until_timestamp_seconds", "messages_per_minute"] == (
        (DAY + MINUTE_MS) / 1000
    )


async def test_late_events_are_counted_and_told_of_and_those_of_windows_that_are_gone_are_not_counted() -> None:
    metrics, log = MemoryMetrics(), MemoryLog()
    codec = RowCodec()
    until = DAY + MESSAGES_PER_MINUTE.keep_ms
    await log.append(0, [(b"~m", codec.encode(mark(until)))])
    tables = {name: BatchTable(name, log if name == "messages_per_minute" else MemoryLog(), codec) for name in TABLES}
    views = ViewPublisher(MemoryViews())
    for table in tables.values():
        table.assign([0])
    fold = FoldTables(MESSAGE_EVENTS, tables, views, metrics)
    events = [said(number, at) for number, at in enumerate((DAY - MINUTE_MS, DAY, until - 1, until, until + 1))]
    for _ in range(2):
        await fold.apply([Slice(TOPIC, 0, [], events)])
    rows = await tables["messages_per_minute"].rows(0)
    assert {key: rows[key].values for key in rows if key != "~m"} == {
        f"m|{DAY}": (1,),
        f"m|{until - MINUTE_MS}": (1,),
        f"m|{until}": (2,),
    }
    assert metrics.counts["window_late_events", "messages_per_minute"] == 2
    assert metrics.counts["window_expired_events", "messages_per_minute"] == 2, "as often as it came"
    assert fold.watermarks == {0: until + 1}


def said(number: int, at: int) -> MessageSent:
    return MessageSent(
        id=f"c{number}.0",
        seq=seq_of(number),
        at=at,
        conversation=pair_id("ann", "bob"),
        message=f"c{number}",
        sender="ann",
        recipient="bob",
        text="-",
        previous=0,
    )
