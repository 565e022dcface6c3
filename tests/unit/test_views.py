"""The views that analysts read come to hold what the tables hold, whatever is lost or down on the way."""

import asyncio
import sys
from collections.abc import Mapping
from functools import partial

import pytest

from devconnect.domain.analytics import MESSAGES_PER_MINUTE, Row, mark
from devconnect.ports.truth import UnavailableError
from faust_batch.table import BatchTable
from tables import views as views_module
from tables.analytics import RowCodec
from tables.views import ViewPublisher
from tests.table_fakes import MemoryLog, MemoryViews
from tests.waiting import until

CODEC = RowCodec()
TABLE = "events_by_type"


def row(seq: int) -> Row:
    return Row((seq,), seq)


class Worker:
    """One life of an analytics worker over a changelog and views that outlive it."""

    def __init__(self, log: MemoryLog, views: MemoryViews) -> None:
        self.publisher = ViewPublisher(views)
        self.table: BatchTable[Row] = BatchTable(TABLE, log, CODEC, partial(self.publisher.note_restored, TABLE))
        self.publisher.watch({TABLE: self.table})
        self._views = views
        self._task: asyncio.Task[None] | None = None

    async def start(self, *partitions: int) -> None:
        self.table.assign(partitions or [0])
        for number in partitions or [0]:
            await asyncio.wait_for(self.table.rows(number), 5)
        self._task = asyncio.create_task(self.publisher.run())

    async def write(self, rows: Mapping[str, Row | None], partition: int = 0) -> None:
        """What the analytics agent does."""
        upto = await self.table.write(partition, rows)
        self.publisher.note(TABLE, partition, rows, upto)

    async def die(self) -> None:
        for task in [self._task] if self._task else []:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.table.stop()

    def shown(self, partition: int = 0) -> dict[str, int]:
        return {key: seq for key, (_, seq) in self._views.rows.get((TABLE, partition), {}).items()}


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def views() -> MemoryViews:
    return MemoryViews()


@pytest.fixture
async def worker(log: MemoryLog, views: MemoryViews):
    found = Worker(log, views)
    yield found
    await found.die()


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module, "GATHER_SECONDS", 0.001)
    monkeypatch.setattr(views_module, "AUDIT_SECONDS", 0.02)
    monkeypatch.setattr(views_module, "RETRY_SECONDS", 0.005)


async def test_what_has_changed_is_published_and_nothing_else(worker: Worker, views: MemoryViews) -> None:
    await worker.start()
    await worker.write({"a": row(1), "b": row(1)})
    await until(lambda: worker.shown() == {"a": 1, "b": 1})
    await worker.write({"b": row(2)})
    await until(lambda: worker.shown() == {"a": 1, "b": 2})
    assert views.calls == [{"a", "b"}, {"b"}]
    assert views.upto[TABLE, 0] == 3
    assert worker.publisher.pending() == 0


async def test_changes_gather_before_they_are_published(
    worker: Worker, views: MemoryViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "GATHER_SECONDS", 0.1)
    await worker.start()
    for seq in range(1, 20):
        await worker.write({f"r{seq}": row(seq)})
        await asyncio.sleep(0)
    await until(lambda: len(worker.shown()) == 19)
    assert len(views.calls) == 1


async def test_every_partition_has_a_view_of_its_own(worker: Worker, views: MemoryViews) -> None:
    await worker.start(0, 1)
    await worker.write({"a": row(1)}, 0)
    await worker.write({"a": row(5)}, 1)
    await until(lambda: worker.shown(0) == {"a": 1} and worker.shown(1) == {"a": 5})
    assert views.upto == {(TABLE, 0): 1, (TABLE, 1): 1}


async def test_many_rows_are_published_in_parts_and_the_view_is_good_only_with_the_last(
    worker: Worker, views: MemoryViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "CHUNK", 3)
    marks: list[int | None] = []
    views.hook = lambda step: marks.append(views.upto.get((TABLE, 0))) if step == "publish" else None
    await worker.start()
    await worker.write({f"r{number}": row(1) for number in range(8)})
    await until(lambda: len(worker.shown()) == 8)
    assert marks == [None, 0, 0]
    assert views.upto[TABLE, 0] == 8


async def test_a_wiped_view_is_found_and_published_whole(worker: Worker, views: MemoryViews) -> None:
    await worker.start()
    await worker.write({"a": row(1), "b": row(1)})
    await until(lambda: len(worker.shown()) == 2)
    views.wipe()
    await until(lambda: worker.shown() == {"a": 1, "b": 1})
    assert views.upto[TABLE, 0] == 2


async def test_a_view_that_is_wiped_under_changes_is_published_whole(worker: Worker, views: MemoryViews) -> None:
    await worker.start()
    await worker.write({"a": row(1), "b": row(1)})
    await until(lambda: len(worker.shown()) == 2)
    views.wipe()
    await worker.write({"a": row(2)})
    await until(lambda: worker.shown() == {"a": 2, "b": 1})


async def test_a_view_that_is_wiped_between_a_question_and_its_answer_s_use_is_published_whole(
    worker: Worker, views: MemoryViews
) -> None:
    await worker.start()
    await worker.write({"a": row(1), "b": row(1)})
    await until(lambda: len(worker.shown()) == 2)

    def wipe(step: str) -> None:
        if step == "publish":
            views.hook = lambda _: None
            views.wipe()

    views.hook = wipe
    await worker.write({"a": row(2)})
    await until(lambda: worker.shown() == {"a": 2, "b": 1})


async def test_what_a_dead_worker_had_not_published_is_found_when_its_table_is_restored(
    worker: Worker, log: MemoryLog, views: MemoryViews
) -> None:
    await worker.start()
    await worker.write({"a": row(1), "b": row(1)})
    await until(lambda: len(worker.shown()) == 2)
    await worker.die()
    await worker.write({"b": row(2), "c": row(2)})
    views.calls.clear()
    heir = Worker(log, views)
    await heir.start()
    await until(lambda: heir.shown() == {"a": 1, "b": 2, "c": 2})
    await heir.die()
    assert views.calls == [{"b", "c"}]


async def test_it_is_found_too_when_a_rebalance_breaks_the_restore_off(
    worker: Worker, log: MemoryLog, views: MemoryViews
) -> None:
    await worker.start()
    await worker.write({"a": row(1)})
    await until(lambda: len(worker.shown()) == 1)
    await worker.die()
    await worker.write({"b": row(2)})
    await worker.write({"c": row(3), "d": row(3)})
    log.reading.clear()
    heir = Worker(log, views)
    heir.table.assign([0])
    for _ in range(20):
        await asyncio.sleep(0)
    log.reading.set()
    await heir.start(0, 1)
    await until(lambda: heir.shown() == {"a": 1, "b": 2, "c": 3, "d": 3})
    await heir.die()


async def test_a_view_that_has_never_been_there_is_published_whole_after_a_restore(
    worker: Worker, log: MemoryLog, views: MemoryViews
) -> None:
    await log.append(0, [(name.encode(), CODEC.encode(row(1))) for name in "abc"])
    await worker.start()
    await until(lambda: worker.shown() == {"a": 1, "b": 1, "c": 1})
    assert views.upto[TABLE, 0] == 3


async def test_a_store_that_is_down_loses_nothing(worker: Worker, views: MemoryViews) -> None:
    failures = 0

    def down(step: str) -> None:
        nonlocal failures
        failures += 1
        raise UnavailableError(f"{step}: Redis is down")

    await worker.start()
    await worker.write({"a": row(1)})
    await until(lambda: len(worker.shown()) == 1)
    views.hook = down
    await worker.write({"b": row(2)})
    await until(lambda: failures > 1)
    await worker.write({"c": row(3)})
    await until(lambda: failures > 4)
    assert worker.shown() == {"a": 1}
    assert worker.publisher.pending() == 1
    views.hook = lambda _: None
    await until(lambda: worker.shown() == {"a": 1, "b": 2, "c": 3})
    await until(lambda: views.upto[TABLE, 0] == 3)


async def test_a_partition_that_was_taken_away_is_published_no_more(worker: Worker, views: MemoryViews) -> None:
    await worker.start(0, 1)
    await worker.write({"a": row(1)}, 0)
    await until(lambda: worker.shown(0) == {"a": 1})
    worker.table.assign([1])
    worker.publisher.note(TABLE, 0, {"a"}, 9)
    await until(lambda: worker.publisher.pending() == 0)
    assert views.upto[TABLE, 0] == 1
    await worker.write({"b": row(1)}, 1)
    await until(lambda: worker.shown(1) == {"b": 1})


async def test_an_empty_table_is_opened_once_it_is_known_to_be_empty(worker: Worker, views: MemoryViews) -> None:
    await worker.start()
    await until(lambda: views.opened == {TABLE})
    assert worker.shown() == {}


async def test_a_table_is_not_opened_before_it_is_assigned_and_restored(
    worker: Worker, log: MemoryLog, views: MemoryViews
) -> None:
    """Its view may be lost, and an empty page would be a lie."""
    await log.append(0, [(b"a", CODEC.encode(row(1)))])

    def look(step: str) -> None:
        assert step != "open" or worker.shown() == {"a": 1}

    views.hook = look
    log.reading.clear()
    running = asyncio.create_task(worker.publisher.run())
    await asyncio.sleep(5 * views_module.AUDIT_SECONDS)
    assert views.opened == set()
    worker.table.assign([0])
    await asyncio.sleep(5 * views_module.AUDIT_SECONDS)
    assert views.opened == set()
    log.reading.set()
    await until(lambda: views.opened == {TABLE})
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_mark_is_no_row_and_lets_go_of_windows_also_when_the_view_is_put_in_whole(
    log: MemoryLog, views: MemoryViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "TABLE", "messages_per_minute")
    keep = MESSAGES_PER_MINUTE.keep_ms
    worker = Worker(log, views)
    await worker.start()
    await worker.write({"m|60000": row(1), "m|120000": row(2)})
    await until(lambda: len(worker.shown()) == 2)
    changes = {"~m": mark(keep + 120_000), "m|60000": None}
    upto = await worker.table.write(0, changes)
    worker.publisher.note(TABLE, 0, changes, upto)
    await until(lambda: views.floors == {TABLE: 120_000})
    assert "~m" not in worker.shown()
    views.wipe()
    await until(lambda: worker.shown() == {"m|120000": 2} and views.floors == {TABLE: 120_000})
    await worker.die()


async def test_what_a_dead_worker_had_let_go_of_leaves_the_view_when_its_table_is_restored(
    log: MemoryLog, views: MemoryViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "TABLE", "messages_per_minute")
    worker = Worker(log, views)
    await worker.start()
    await worker.write({"m|60000": row(1)})
    await until(lambda: len(worker.shown()) == 1)
    await worker.die()
    await worker.write({"~m": mark(MESSAGES_PER_MINUTE.keep_ms + 120_000), "m|60000": None})
    heir = Worker(log, views)
    await heir.start()
    await until(lambda: views.floors == {TABLE: 120_000})
    await heir.die()
