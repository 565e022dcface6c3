"""Group commit: what gathers while the handler works is handed over at once, and acknowledged when it is done."""

import asyncio
from collections.abc import Sequence

import pytest

from faust_batch import gather
from faust_batch.batch import Batch, RevokedError
from faust_batch.gather import Gatherer
from tests.fakes import MemoryBatch
from tests.waiting import until


class Handler:
    """Takes note of its calls; works on each until it is let go on."""

    def __init__(self) -> None:
        self.calls: list[list[Batch]] = []
        self.error: BaseException | None = None
        self.at_work = 0
        self.lanes = 1
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.crashes: list[BaseException] = []

    async def handle(self, batches: Sequence[Batch]) -> None:
        self.calls.append(list(batches))
        self.at_work += 1
        assert self.at_work <= self.lanes
        try:
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.at_work -= 1

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def gatherer(handler: Handler):
    found = Gatherer(handler.handle, handler.crash)
    yield found
    await found.stop()


def a_batch(first: int = 0, partition: int = 0, records: int = 1) -> MemoryBatch:
    return MemoryBatch("t", partition, first, [b"x"] * records)


async def turns(number: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_lone_batch_is_handed_over_at_once_and_acknowledged_once(handler: Handler, gatherer: Gatherer) -> None:
    batch = a_batch()
    await gatherer.put(batch)
    await until(lambda: batch.acknowledged == 1)
    await turns()
    assert handler.calls == [[batch]]
    assert batch.acknowledged == 1


async def test_batches_gather_while_the_handler_works(handler: Handler, gatherer: Gatherer) -> None:
    handler.go_on.clear()
    first, second, third, fourth = (a_batch(n, partition=n % 2) for n in range(4))
    await gatherer.put(first)
    await until(lambda: len(handler.calls) == 1)
    for batch in (second, third, fourth):
        await gatherer.put(batch)
    await turns()
    assert handler.calls == [[first]]
    assert first.acknowledged == 0
    handler.go_on.set()
    await until(lambda: fourth.acknowledged == 1)
    assert handler.calls == [[first], [second, third, fourth]]
    assert [batch.acknowledged for batch in (first, second, third, fourth)] == [1, 1, 1, 1]


async def test_the_batches_of_a_partition_come_in_order(handler: Handler, gatherer: Gatherer) -> None:
    batches = [a_batch(number, partition=number % 3) for number in range(60)]
    for number, batch in enumerate(batches):
        if number % 7 == 0:
            await asyncio.sleep(0)
        await gatherer.put(batch)
    await until(lambda: all(batch.acknowledged for batch in batches))
    assert [batch for call in handler.calls for batch in call] == batches


async def test_with_lanes_a_partition_waits_for_its_own_work_and_for_no_other_s(handler: Handler) -> None:
    handler.lanes = 2
    gatherer = Gatherer(handler.handle, handler.crash, lanes=2)
    handler.go_on.clear()
    first, second, other, third = a_batch(0), a_batch(1), a_batch(0, partition=1), a_batch(0, partition=2)
    await gatherer.put(first)
    await until(lambda: len(handler.calls) == 1)
    await gatherer.put(second)
    await gatherer.put(other)
    await until(lambda: len(handler.calls) == 2)
    await gatherer.put(third)
    await turns()
    assert handler.calls == [[first], [other]]
    handler.go_on.set()
    await until(lambda: all(batch.acknowledged for batch in (first, second, other, third)))
    assert sorted(handler.calls[2:], key=len) == [[second, third]]
    await gatherer.stop()


async def test_with_lanes_a_partition_s_batches_are_in_order_whatever_each_takes() -> None:
    done: list[Batch] = []
    at_work: set[int] = set()

    async def handle(batches: Sequence[Batch]) -> None:
        partitions = {batch.partition for batch in batches}
        assert not partitions & at_work
        at_work.update(partitions)
        await turns(batches[0].first_offset % 7)
        done.extend(batches)
        at_work.difference_update(partitions)

    gatherer = Gatherer(handle, Handler().crash, lanes=3)
    batches = [a_batch(number, partition=number % 5) for number in range(100)]
    for number, batch in enumerate(batches):
        await turns(number % 3)
        await gatherer.put(batch)
    await until(lambda: all(batch.acknowledged for batch in batches))
    for partition in range(5):
        own = [batch for batch in done if batch.partition == partition]
        assert own == sorted(own, key=lambda batch: batch.first_offset)
    await gatherer.stop()


async def test_with_lanes_an_error_hands_over_nothing_more_and_lets_what_is_at_work_be_done(handler: Handler) -> None:
    handler.lanes = 2
    gatherer = Gatherer(handler.handle, handler.crash, lanes=2)
    handler.go_on.clear()
    batches = [a_batch(0, partition=number) for number in range(3)]
    for batch in batches[:2]:
        await gatherer.put(batch)
        await turns()
    await gatherer.put(batches[2])
    handler.error = ValueError("can't")
    handler.go_on.set()
    await until(lambda: len(handler.crashes) == 2)
    await turns()
    assert handler.calls == [[batches[0]], [batches[1]]]
    assert [batch.acknowledged for batch in batches] == [0, 0, 0]
    await gatherer.stop()


async def test_no_more_are_asked_for_than_there_is_room_for_and_nothing_that_comes_waits_outside(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "MAX_WAITING", 10)
    said: list[str] = []
    gatherer = Gatherer(
        handler.handle, handler.crash, full=lambda: said.append("full"), room=lambda: said.append("room")
    )
    handler.go_on.clear()
    await gatherer.put(a_batch(0, records=9))
    await until(lambda: len(handler.calls) == 1)
    await gatherer.put(a_batch(9, records=6))
    assert said == []
    await gatherer.put(a_batch(15, records=6))
    assert said == ["full"]
    last = a_batch(21)
    await asyncio.wait_for(gatherer.put(last), 5)
    handler.go_on.set()
    await until(lambda: last.acknowledged == 1)
    assert said == ["full", "full", "room"]
    await gatherer.stop()


async def test_an_error_crashes_the_worker_once_and_nothing_is_acknowledged_after(
    handler: Handler, gatherer: Gatherer
) -> None:
    handler.go_on.clear()
    handler.error = ValueError("can't")
    first, second = a_batch(0), a_batch(1)
    await gatherer.put(first)
    await until(lambda: len(handler.calls) == 1)
    await gatherer.put(second)
    handler.go_on.set()
    await until(lambda: bool(handler.crashes))
    await gatherer.put(a_batch(2))
    await turns()
    assert handler.crashes == [handler.error]
    assert handler.calls == [[first]]
    assert (first.acknowledged, second.acknowledged) == (0, 0)


async def test_batches_of_another_time_are_dropped(handler: Handler, gatherer: Gatherer) -> None:
    """Their partition was taken away, or is read anew: others will bring their records."""
    handler.go_on.clear()
    first, stale, fresh = a_batch(0), a_batch(1), a_batch(1)
    await gatherer.put(first)
    await until(lambda: len(handler.calls) == 1)
    await gatherer.put(stale)
    await gatherer.put(fresh)
    stale.current = False
    handler.go_on.set()
    await until(lambda: fresh.acknowledged == 1)
    assert handler.calls == [[first], [fresh]]
    assert stale.acknowledged == 0


async def test_when_all_that_waits_is_of_another_time_the_handler_is_left_alone(
    handler: Handler, gatherer: Gatherer
) -> None:
    stale, fresh = a_batch(0), a_batch(0)
    stale.current = False
    await gatherer.put(stale)
    await turns()
    await gatherer.put(fresh)
    await until(lambda: fresh.acknowledged == 1)
    assert handler.calls == [[fresh]]


async def test_revoked_batches_stay_unacknowledged_and_the_next_are_handled(
    handler: Handler, gatherer: Gatherer
) -> None:
    handler.error = RevokedError("t-0")
    lost, kept = a_batch(0), a_batch(0, partition=1)
    await gatherer.put(lost)
    await until(lambda: len(handler.calls) == 1 and handler.at_work == 0)
    handler.error = None
    await gatherer.put(kept)
    await until(lambda: kept.acknowledged == 1)
    assert lost.acknowledged == 0
    assert handler.crashes == []


async def test_stop_ends_the_work_in_hand_and_leaves_it_unacknowledged(handler: Handler, gatherer: Gatherer) -> None:
    handler.go_on.clear()
    first, second = a_batch(0), a_batch(1)
    await gatherer.put(first)
    await until(lambda: len(handler.calls) == 1)
    await gatherer.put(second)
    await asyncio.wait_for(gatherer.stop(), 5)
    handler.go_on.set()
    await turns()
    assert handler.at_work == 0
    assert handler.calls == [[first]]
    assert (first.acknowledged, second.acknowledged) == (0, 0)
    assert handler.crashes == []


async def test_a_gatherer_that_never_had_a_batch_stops_too(handler: Handler) -> None:
    await Gatherer(handler.handle, handler.crash).stop()
    assert handler.calls == []
