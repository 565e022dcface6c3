"""Rows in memory are what the changelog says: never ahead of it, never behind what another owner wrote."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

import msgspec
import pytest
from aiokafka.errors import KafkaConnectionError

from devconnect.domain.analytics import Row
from faust_batch import table as table_module
from faust_batch.batch import Record, RevokedError
from faust_batch.table import BatchTable
from tables.analytics import RowCodec
from tests.fakes import MemoryRecord
from tests.table_fakes import MemoryLog

CODEC = RowCodec()


def row(seq: int) -> Row:
    """A row that has counted as many events as its seq says."""
    return Row((seq,), seq)


async def put(log: MemoryLog, partition: int, **seqs: int | None) -> None:
    """Another owner writes rows of these seqs; None deletes."""
    await log.append(
        partition, [(key.encode(), None if seq is None else CODEC.encode(row(seq))) for key, seq in seqs.items()]
    )


def seqs(rows: Mapping[str, Row]) -> dict[str, int]:
    return {key: found.seq for key, found in rows.items()}


class Restores:
    """What a table says of its restores."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, dict[str, int]]] = []

    def __call__(self, partition: int, offsets: Mapping[str, int]) -> None:
        self.seen.append((partition, dict(offsets)))


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def restores() -> Restores:
    return Restores()


@pytest.fixture
def table(log: MemoryLog, restores: Restores) -> BatchTable[Row]:
    return BatchTable("things", log, CODEC, restores)


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "RETRY_SECONDS", 0.001)


async def turns(number: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(number):
        await asyncio.sleep(0)


async def soon(work: Awaitable[Mapping[str, Row]]) -> Mapping[str, Row]:
    return await asyncio.wait_for(work, 5)


# -- restore


async def test_rows_are_given_out_only_when_all_of_them_are_restored(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1, b=2, c=3)
    log.reading.clear()
    table.assign([0])
    reading = asyncio.create_task(table.rows(0))
    await turns()
    assert not reading.done()
    assert not table.is_ready()
    log.reading.set()
    assert seqs(await soon(reading)) == {"a": 1, "b": 2, "c": 3}
    assert table.is_ready()
    assert len(table) == table.recovered == 3


async def test_a_partition_without_a_changelog_is_ready_at_once(table: BatchTable[Row]) -> None:
    table.assign([0, 1])
    assert await soon(table.rows(0)) == {}
    assert await soon(table.rows(1)) == {}


async def test_partitions_do_not_mix(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    await put(log, 1, a=2)
    table.assign([0, 1])
    assert seqs(await soon(table.rows(0))) == {"a": 1}
    assert seqs(await soon(table.rows(1))) == {"a": 2}


async def test_a_stale_version_behind_a_newer_one_does_not_win(table: BatchTable[Row], log: MemoryLog) -> None:
    """A process that has lost its partition may still write once, after the next owner."""
    for seq in (5, 9, 7):
        await put(log, 0, a=seq)
    table.assign([0])
    assert seqs(await soon(table.rows(0))) == {"a": 9}


async def test_a_row_that_was_deleted_is_gone(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=5, b=6)
    await put(log, 0, a=None)
    table.assign([0])
    assert seqs(await soon(table.rows(0))) == {"b": 6}


async def test_a_row_that_was_written_again_after_it_was_deleted_is_there(
    table: BatchTable[Row], log: MemoryLog
) -> None:
    for seq in (5, None, 6):
        await put(log, 0, a=seq)
    table.assign([0])
    assert seqs(await soon(table.rows(0))) == {"a": 6}


async def test_a_restore_goes_on_where_it_was_when_the_broker_comes_back(
    table: BatchTable[Row], log: MemoryLog
) -> None:
    await put(log, 0, a=1, b=2, c=3, d=4)
    log.read_errors += [KafkaConnectionError(), KafkaConnectionError()]
    table.assign([0])
    assert seqs(await soon(table.rows(0))) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert log.reads == [{0: 0}, {0: 2}, {0: 4}]
    assert table.recovered == 4


async def test_a_restore_tells_the_offset_of_the_last_record_of_each_row(
    table: BatchTable[Row], log: MemoryLog, restores: Restores
) -> None:
    await put(log, 0, a=1, b=2)
    await put(log, 0, a=3)
    table.assign([0])
    await soon(table.rows(0))
    assert restores.seen == [(0, {"a": 2, "b": 1})]


async def test_a_restore_that_a_rebalance_broke_off_is_told_whole(
    table: BatchTable[Row], log: MemoryLog, restores: Restores
) -> None:
    """Rebalances come in rows; what the first restore had read, the second doesn't read again."""
    await put(log, 0, a=1, b=2, c=3, d=4)
    log.reading.clear()
    table.assign([0])
    await turns()
    table.assign([0, 1])
    log.reading.set()
    await soon(table.rows(0))
    assert (0, {"a": 0, "b": 1, "c": 2, "d": 3}) in restores.seen
    assert log.reads[-1] == {0: 2, 1: 0}


# -- write


async def test_a_write_is_in_the_changelog_before_it_is_in_memory(table: BatchTable[Row], log: MemoryLog) -> None:
    table.assign([0])
    rows = await soon(table.rows(0))
    log.acknowledging.clear()
    writing = asyncio.create_task(table.write(0, {"a": row(1), "b": row(2)}))
    await turns()
    assert rows == {}
    log.acknowledging.set()
    assert await asyncio.wait_for(writing, 5) == 2
    assert seqs(rows) == {"a": 1, "b": 2}
    assert [CODEC.decode(record.value or b"") for record in log.partitions[0]] == [row(1), row(2)]


async def test_a_write_that_fails_leaves_memory_as_it_was(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    table.assign([0])
    rows = await soon(table.rows(0))
    log.append_errors.append(RuntimeError("no"))
    with pytest.raises(RuntimeError):
        await table.write(0, {"a": row(2)})
    assert seqs(rows) == {"a": 1}


async def test_a_write_says_where_the_changelog_ends_now(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    table.assign([0])
    await soon(table.rows(0))
    assert await table.write(0, {"a": row(2), "b": row(1)}) == 3
    assert await table.write(0, {"a": row(3)}) == 4


async def test_a_restart_finds_exactly_what_was_in_memory(table: BatchTable[Row], log: MemoryLog) -> None:
    table.assign([0])
    await soon(table.rows(0))
    for seq in range(1, 6):
        await table.write(0, {"a": row(seq), f"b{seq}": row(seq)})
    again: BatchTable[Row] = BatchTable("things", log, CODEC)
    again.assign([0])
    assert await soon(again.rows(0)) == await soon(table.rows(0))


# -- reassignment


async def test_what_another_owner_wrote_meanwhile_is_read_before_rows_are_given_out(
    table: BatchTable[Row], log: MemoryLog, restores: Restores
) -> None:
    await put(log, 0, a=1, b=1)
    table.assign([0])
    await soon(table.rows(0))
    await put(log, 0, a=5)
    table.assign([0])
    assert not table.is_ready()
    assert seqs(await soon(table.rows(0))) == {"a": 5, "b": 1}
    assert restores.seen[1:] == [(0, {"a": 2})]


async def test_own_writes_are_not_read_again(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    table.assign([0])
    await soon(table.rows(0))
    await table.write(0, {"a": row(2), "b": row(2)})
    await table.write(0, {"c": row(3)})
    table.assign([0])
    await soon(table.rows(0))
    assert log.reads == [{0: 0}, {0: 4}]
    assert table.recovered == 1


async def test_what_another_wrote_between_own_writes_is_read(table: BatchTable[Row], log: MemoryLog) -> None:
    table.assign([0])
    await soon(table.rows(0))
    await table.write(0, {"a": row(1)})
    await put(log, 0, b=7)
    await table.write(0, {"a": row(2)})
    table.assign([0])
    assert seqs(await soon(table.rows(0))) == {"a": 2, "b": 7}


async def test_a_late_write_does_not_win_over_what_the_next_owner_wrote(table: BatchTable[Row], log: MemoryLog) -> None:
    """The broker took its time; the partition went to another and came back meanwhile."""
    table.assign([0])
    await soon(table.rows(0))
    log.acknowledging.clear()
    late = asyncio.create_task(table.write(0, {"a": row(3)}))
    await turns()
    log.partitions[0] = [MemoryRecord(0, b"a", CODEC.encode(row(9)))]
    table.assign([0])
    rows = await soon(table.rows(0))
    log.acknowledging.set()
    await asyncio.wait_for(late, 5)
    assert seqs(rows) == {"a": 9}


async def test_a_partition_that_was_taken_away_has_no_rows(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    await put(log, 1, b=1)
    table.assign([0, 1])
    await soon(table.rows(0))
    table.assign([1])
    with pytest.raises(RevokedError, match="things-0"):
        await table.rows(0)
    with pytest.raises(RevokedError):
        await table.write(0, {"a": row(2)})
    assert seqs(await soon(table.rows(1))) == {"b": 1}
    assert len(table) == 1
    assert len(log.partitions[0]) == 1


async def test_who_waits_for_a_partition_that_is_taken_away_is_told(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    log.reading.clear()
    table.assign([0])
    waiting = asyncio.create_task(table.rows(0))
    await turns()
    table.assign([])
    with pytest.raises(RevokedError):
        await soon(waiting)
    assert table.is_ready()


async def test_a_partition_that_was_never_assigned_has_no_rows(table: BatchTable[Row]) -> None:
    with pytest.raises(RevokedError):
        await table.rows(0)


async def test_a_partition_that_comes_back_is_read_from_its_beginning(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    table.assign([0])
    await soon(table.rows(0))
    table.assign([])
    await put(log, 0, b=2)
    table.assign([0])
    assert seqs(await soon(table.rows(0))) == {"a": 1, "b": 2}
    assert log.reads[-1] == {0: 0}


async def test_stop_ends_a_restore(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1)
    log.reading.clear()
    table.assign([0])
    await turns()
    await asyncio.wait_for(table.stop(), 5)
    log.reading.set()
    await turns()
    assert not table.is_ready()


async def test_what_is_no_row_is_handed_out_and_its_neighbours_are_restored() -> None:
    log, found = MemoryLog(), list[tuple[int, bytes | None]]()
    await put(log, 0, before=1)
    await log.append(0, [(b"key", b"no row"), (b"\xff", CODEC.encode(row(1)))])
    await put(log, 0, after=2)

    async def unreadable(partition: int, bad: Sequence[tuple[Record, ValueError]]) -> None:
        found.extend((partition, record.value) for record, _ in bad)

    table = BatchTable("t", log, CODEC, unreadable=unreadable)
    table.assign({0})
    assert seqs(await table.rows(0)) == {"before": 1, "after": 2}
    assert found == [(0, b"no row"), (0, CODEC.encode(row(1)))]
    await table.stop()


async def test_a_row_of_a_newer_program_is_told_of_and_never_taken_for_restored() -> None:
    log, failures = MemoryLog(), asyncio.Queue[BaseException]()
    await log.append(0, [(b"key", msgspec.msgpack.encode([99, 1, 1]))])
    table = BatchTable("t", log, CODEC, failed=failures.put_nowait)
    table.assign({0})
    assert await asyncio.wait_for(failures.get(), 5) is not None
    assert not table.is_ready()
    await table.stop()


# -- somebody who is too late to know better


async def test_an_older_version_behind_a_newer_one_is_written_over_again(
    table: BatchTable[Row], log: MemoryLog
) -> None:
    """Compaction keeps the last record of a key, so the last must be the newest."""
    for seq in (5, 9, 7):
        await put(log, 0, a=seq)
    await put(log, 0, b=1)
    table.assign([0])
    await soon(table.rows(0))
    assert [(record.key, CODEC.decode(record.value or b"").seq) for record in log.partitions[0][4:]] == [(b"a", 9)]
    assert table.repaired == 1


async def test_what_somebody_wrote_between_own_writes_is_taken_or_written_over(
    table: BatchTable[Row], log: MemoryLog
) -> None:
    table.assign([0])
    rows = await soon(table.rows(0))
    await table.write(0, {"a": row(5), "c": row(1)})
    await put(log, 0, a=3, b=4)
    await table.write(0, {"c": row(6)})
    assert seqs(rows) == {"a": 5, "b": 4, "c": 6}
    last = {record.key: CODEC.decode(record.value or b"").seq for record in log.partitions[0]}
    assert last == {b"a": 5, b"b": 4, b"c": 6}
    assert table.repaired == 1


async def test_own_writes_that_overlap_are_no_gap(table: BatchTable[Row], log: MemoryLog) -> None:
    table.assign([0])
    await soon(table.rows(0))
    log.acknowledging.clear()
    writes = [asyncio.create_task(table.write(0, {f"k{n}": row(n)})) for n in range(5)]
    await turns()
    log.acknowledging.set()
    await asyncio.gather(*writes)
    assert len(log.reads) == 1
    table.assign([0])
    await soon(table.rows(0))
    assert log.reads[-1] == {0: 5}


async def test_a_row_that_is_removed_leaves_a_tombstone(table: BatchTable[Row], log: MemoryLog) -> None:
    table.assign([0])
    rows = await soon(table.rows(0))
    await table.write(0, {"a": row(1), "b": row(2)})
    await table.write(0, {"a": None})
    assert seqs(rows) == {"b": 2}
    assert (log.partitions[0][-1].key, log.partitions[0][-1].value) == (b"a", None)


async def test_a_restore_says_how_far_it_is(table: BatchTable[Row], log: MemoryLog) -> None:
    await put(log, 0, a=1, b=2, c=3, d=4)
    log.reading.clear()
    table.assign([0])
    await turns()
    assert table.progress() == (2, 4)
    log.reading.set()
    await soon(table.rows(0))
    assert table.progress() == (0, 0)
