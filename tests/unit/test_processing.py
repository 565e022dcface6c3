"""What every agent does around its step: nothing that comes in is passed by, and one bad record stops nothing."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from msgspec import Struct

from agents import processing
from agents.limiting import Limiter
from agents.processing import Processor, Slice, together
from devconnect.domain.limits import Limits
from devconnect.events.codec import Codec
from devconnect.ports.publisher import DeadLetter
from devconnect.ports.truth import UnavailableError
from faust_batch.batch import RevokedError
from tests.fakes import ManualClock, MemoryBatch, MemoryLetters, MemoryMetrics, MemoryPublisher


class Thing(Struct, frozen=True, tag_field="type", tag="thing"):
    """What the step below works on."""

    name: str
    v: int = 1


def written(*names: str | bytes) -> list[bytes]:
    """A thing of each name; bytes stay as they are."""
    return [name if isinstance(name, bytes) else b'{"type":"thing","name":"%s"}' % name.encode() for name in names]


class Keep:
    """Keeps the names it is given; `fail` may raise before that."""

    name = "keep"
    codec: Codec[Thing] = Codec(Thing)

    def __init__(self, fail: Callable[[list[str]], None] = lambda names: None) -> None:
        self.kept: list[tuple[int, int, str]] = []
        self.calls: list[list[str]] = []
        self._fail = fail

    async def apply(self, slices: Sequence[Slice[Thing]]) -> None:
        names = [value.name for part in slices for value in part.values]
        self.calls.append(names)
        self._fail(names)
        self.kept += [
            (part.partition, record.offset, value.name)
            for part in slices
            for record, value in zip(part.records, part.values, strict=True)
        ]


class Fixture:
    """A processor around a step, and all that it hands on to."""

    def __init__(self, step: Keep, limits: Limits | None = None) -> None:
        self.step = step
        self.publisher, self.metrics, self.clock = MemoryPublisher(), MemoryMetrics(), ManualClock()
        self.letters = MemoryLetters(self.publisher)
        self.limits = limits or Limits()
        self.restart()

    def restart(self) -> None:
        """Another process takes over: it knows what is buried, and nothing else."""
        limiter = Limiter(self.step.name, self.limits, self.letters)
        self.process = Processor(self.step, self.publisher, self.metrics, self.clock, limiter)

    @property
    def buried(self) -> list[tuple[int, int]]:
        return [(letter.partition, letter.offset) for letter in self.publisher.letters]


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing, "FIRST_WAIT", 0.0001)
    monkeypatch.setattr(processing, "LONGEST_WAIT", 0.001)


def poison(*bad: str) -> Callable[[list[str]], None]:
    def fail(names: list[str]) -> None:
        if set(bad) & set(names):
            raise ValueError(f"can't bear {names[0]}")

    return fail


async def test_all_batches_of_a_call_are_applied_at_once_and_in_order() -> None:
    given = Fixture(Keep())
    await given.process([MemoryBatch("t", 0, 5, written("a", "b")), MemoryBatch("t", 1, 9, written("c"))])
    assert given.step.calls == [["a", "b", "c"]]
    assert given.step.kept == [(0, 5, "a"), (0, 6, "b"), (1, 9, "c")]
    assert given.publisher.letters == []


async def test_what_can_not_be_decoded_is_buried_with_its_cause_and_its_place_and_the_others_are_applied() -> None:
    given = Fixture(Keep())
    records = [*written("a", b"hello"), None, *written(b"\xff", "b")]
    await given.process([MemoryBatch("t", 3, 5, records)])
    assert given.step.kept == [(3, 5, "a"), (3, 9, "b")]
    assert given.publisher.letters[0] == DeadLetter(
        agent="keep",
        cause="not JSON: JSON is malformed: invalid character (byte 0)",
        topic="t",
        partition=3,
        offset=6,
        key=b"key",
        value=b"hello",
    )
    assert given.publisher.letters[1].cause == "the record has no value"
    assert given.publisher.letters[1].value is None
    assert given.buried == [(3, 6), (3, 7), (3, 8)]


async def test_a_batch_of_which_nothing_can_be_decoded_leaves_the_step_alone() -> None:
    given = Fixture(Keep())
    await given.process([MemoryBatch("t", 0, 0, [b"hello"])])
    assert given.step.calls == []
    assert given.buried == [(0, 0)]


@pytest.mark.parametrize("bad", [("a",), ("e",), ("c", "d"), tuple("abcde"), ("x",)])
async def test_a_record_that_can_not_be_applied_is_buried_and_all_others_are_applied_in_order(
    bad: tuple[str, ...],
) -> None:
    given = Fixture(Keep(poison(*bad)))
    await given.process([MemoryBatch("t", 0, 0, written(*"abc")), MemoryBatch("t", 1, 0, written(*"dex"))])
    everything = [(0, 0, "a"), (0, 1, "b"), (0, 2, "c"), (1, 0, "d"), (1, 1, "e"), (1, 2, "x")]
    assert given.step.kept == [entry for entry in everything if entry[2] not in bad]
    assert given.buried == [(partition, offset) for partition, offset, name in everything if name in bad]
    assert {letter.cause for letter in given.publisher.letters} == {f"ValueError: can't bear {name}" for name in bad}


async def test_a_bad_record_among_many_costs_few_calls() -> None:
    names = [f"n{number}" for number in range(1024)]
    given = Fixture(Keep(poison("n700")))
    await given.process([MemoryBatch("t", 0, 0, written(*names))])
    assert given.buried == [(0, 700)]
    assert len(given.step.kept) == 1023
    assert len(given.step.calls) == 21


class Outage:
    """A store that is down for the first calls, and keeps a record of them."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, names: list[str]) -> None:
        if self.left > 0:
            self.left -= 1
            raise UnavailableError("the store is down")


async def test_a_store_that_is_down_is_waited_for_and_buries_nothing() -> None:
    given = Fixture(Keep(Outage(7)))
    await given.process([MemoryBatch("t", 0, 0, written("a", "b"))])
    assert given.step.calls == [["a", "b"]] * 8
    assert given.step.kept == [(0, 0, "a"), (0, 1, "b")]
    assert given.publisher.letters == []
    assert given.metrics.counts["batch_retries", "keep"] == 7


async def test_a_store_that_goes_down_while_a_bad_record_is_looked_for_is_waited_for_too() -> None:
    outage, bad = Outage(0), poison("c")

    def fail(names: list[str]) -> None:
        outage(names)
        try:
            bad(names)
        except ValueError:
            outage.left = 2
            raise

    given = Fixture(Keep(fail))
    await given.process([MemoryBatch("t", 0, 0, written(*"abcd"))])
    assert [name for _, _, name in given.step.kept] == ["a", "b", "d"]
    assert given.buried == [(0, 2)]


async def test_the_wait_for_a_store_doubles_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(processing, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(processing, "LONGEST_WAIT", 4.0)
    monkeypatch.setattr(processing.asyncio, "sleep", sleep)
    monkeypatch.setattr(processing.random, "uniform", lambda low, high: high)
    given = Fixture(Keep(Outage(5)))
    await given.process([MemoryBatch("t", 0, 0, written("a"))])
    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]


async def test_a_revoked_partition_is_left_to_its_next_owner() -> None:
    """Neither tried again nor taken apart: what is a bad record here may be a good one there."""

    def fail(names: list[str]) -> None:
        raise RevokedError("t-0")

    given = Fixture(Keep(fail))
    with pytest.raises(RevokedError):
        await given.process([MemoryBatch("t", 0, 0, written("a", "b"))])
    assert given.step.calls == [["a", "b"]]
    assert given.publisher.letters == []
    assert given.metrics.counts == {}


async def test_a_batch_that_is_cancelled_buries_nothing() -> None:
    def fail(names: list[str]) -> None:
        raise asyncio.CancelledError

    given = Fixture(Keep(fail))
    with pytest.raises(asyncio.CancelledError):
        await given.process([MemoryBatch("t", 0, 0, written("a", "b"))])
    assert given.publisher.letters == []


# -- limits


class Partition:
    """A log of one partition and how far it is acknowledged, worked off as a worker does."""

    def __init__(self, given: Fixture, values: list[bytes | None], number: int = 0) -> None:
        self.given, self.values, self.number = given, values, number
        self.committed = 0
        self.batch: MemoryBatch | None = None

    async def work(self, size: int) -> None:
        """Everything, in batches of this size, until it is done or stopped."""
        while self.committed < len(self.values):
            chunk = self.values[self.committed : self.committed + size]
            self.batch = MemoryBatch("t", self.number, self.committed, chunk)
            await self.given.process([self.batch])
            if self.batch.held is not None:
                self.committed = self.batch.held
                return
            self.committed += len(chunk)


def garbage(count: int) -> list[bytes | None]:
    return [b"garbage"] * count


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.parametrize("applied", [False, True])
async def test_a_run_that_is_too_long_stops_its_partition_there(size: int, applied: bool) -> None:
    """The same records, whether they can't be decoded or can't be applied, and however they are batched."""
    given = Fixture(Keep(poison("bad")), Limits(run=5))
    bad = written("bad") if applied else garbage(1)
    log = Partition(given, [*written("a"), *bad * 5, *written("b"), *bad * 9, *written("c")])
    await log.work(size)
    assert log.committed == 12
    assert sorted(set(given.buried)) == [(0, offset) for offset in (*range(1, 6), *range(7, 12))]
    assert [name for _, _, name in given.step.kept] == ["a", "b"]
    assert [(stop.topic, stop.partition, stop.offset) for stop in given.process.stops()] == [("t", 0, 12)]
    assert given.metrics.gauges["partition_stopped", "keep", "t", "0"] == 1
    assert given.metrics.counts["records_processed", "keep"] == 12


@pytest.mark.parametrize("size", [1, 4, 64])
async def test_a_share_that_is_too_high_stops_the_partition_though_good_records_lie_between(size: int) -> None:
    given = Fixture(Keep(), Limits(run=5, share=40, window=20))
    log = Partition(given, [value for _ in range(30) for value in (*garbage(1), *written("a"))])
    await log.work(size)
    assert log.committed == 16  # the ninth of 20 would be more than 40 percent
    assert len(given.buried) == 8


async def test_now_and_then_a_bad_record_never_stops_anything() -> None:
    given = Fixture(Keep(), Limits(run=1, share=50, window=10))
    log = Partition(given, [value for _ in range(50) for value in (*garbage(1), *written("a", "b"))])
    await log.work(1)
    assert log.committed == 150
    assert len(given.buried) == 50


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_a_restart_alone_stops_at_the_same_record_and_buries_nothing_more(size: int) -> None:
    given = Fixture(Keep(), Limits(run=5))
    log = Partition(given, [*written("a"), *garbage(20)])
    for _ in range(4):
        await log.work(size)
        assert log.committed == 6
        given.restart()
    assert len(given.buried) == 5


async def test_a_replay_of_what_is_buried_already_counts_it_once() -> None:
    """A crash before the commit: the batch comes again, and its letters with it."""
    given = Fixture(Keep(), Limits(run=5))
    for _ in range(4):
        given.restart()
        batch = MemoryBatch("t", 0, 10, [*garbage(4), *written("a")])
        await given.process([batch])
        assert batch.held is None
    assert given.buried == [(0, 10), (0, 11), (0, 12), (0, 13)] * 4


async def test_what_is_mended_goes_on_after_a_restart() -> None:
    given = Fixture(Keep(poison("bad")), Limits(run=5))
    log = Partition(given, [*written(*["bad"] * 12, "a")])
    await log.work(50)
    assert log.committed == 5
    given.step = Keep()
    given.restart()
    await log.work(50)
    assert log.committed == 13
    assert [offset for _, offset, _ in given.step.kept] == list(range(5, 13))
    assert len(given.buried) == 5


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_what_is_allowed_is_buried_and_counts_no_more(size: int) -> None:
    given = Fixture(Keep(), Limits(run=5))
    log = Partition(given, [*garbage(20), *written("a"), *garbage(5), *written("b"), *garbage(6)])
    await log.work(size)
    assert log.committed == 5
    [stop] = given.process.stops()
    given.letters.allowances["t", 0] = 16
    await given.process.release(stop)
    assert isinstance(stop.batch, MemoryBatch)
    assert stop.batch.released == 1
    assert given.metrics.gauges["partition_stopped", "keep", "t", "0"] == 0
    assert given.process.stops() == []
    await log.work(size)
    assert log.committed == 32
    assert [name for _, _, name in given.step.kept] == ["a", "b"]


async def test_the_other_partitions_of_the_call_go_on() -> None:
    given = Fixture(Keep(poison("bad")), Limits(run=2))
    good, bad = MemoryBatch("t", 1, 0, written("a", "bad", "b")), MemoryBatch("t", 0, 0, garbage(5))
    worse, after = MemoryBatch("t", 2, 0, written("c", *["bad"] * 4, "d")), MemoryBatch("t", 2, 6, written("e"))
    await given.process([bad, good, worse, after])
    assert (good.held, bad.held, worse.held, after.held) == (None, 2, 3, None)
    assert [name for _, _, name in given.step.kept] == ["a", "b", "c"]
    assert given.buried == [(0, 0), (0, 1), (1, 1), (2, 1), (2, 2)]


async def test_nothing_behind_the_stop_is_applied_though_it_could_be() -> None:
    given = Fixture(Keep(), Limits(run=2))
    await given.process([MemoryBatch("t", 0, 0, [*written("a"), *garbage(3), *written("b")])])
    assert given.step.calls == [["a"]]


async def test_partitions_that_are_assigned_anew_are_looked_at_anew() -> None:
    given = Fixture(Keep(), Limits(run=2))
    await given.process([MemoryBatch("t", 0, 0, garbage(5))])
    given.process.forget()
    assert given.process.stops() == []
    assert given.metrics.gauges["partition_stopped", "keep", "t", "0"] == 0
    again = MemoryBatch("t", 0, 2, garbage(3))
    await given.process([again])
    assert again.held == 2


async def test_a_partition_that_was_taken_away_meanwhile_is_not_stopped_here() -> None:
    given = Fixture(Keep(), Limits(run=2))
    batch = MemoryBatch("t", 0, 0, garbage(5))
    batch.current = False
    await given.process([batch])
    assert (batch.held, given.process.stops()) == (None, [])
    assert ("partition_stopped", "keep", "t", "0") not in given.metrics.gauges


async def test_letters_that_can_not_be_read_are_waited_for_and_nothing_is_decided_before() -> None:
    given = Fixture(Keep(), Limits(run=2))
    given.letters.errors = [UnavailableError("Kafka is down")] * 3
    await given.process([MemoryBatch("t", 0, 0, [*garbage(1), *written("a")])])
    assert given.buried == [(0, 0)]
    assert given.metrics.counts["batch_retries", "keep"] == 3


async def test_what_is_well_never_looks_at_the_letters() -> None:
    given = Fixture(Keep())
    await given.process([MemoryBatch("t", 0, 0, written("a", "b"))])
    assert given.letters.reads == 0


async def test_the_stop_is_told_with_place_cause_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    given = Fixture(Keep(poison("bad")), Limits(run=1))
    await given.process([MemoryBatch("t", 3, 10, written("bad", "bad"))])
    [told] = [record.getMessage() for record in caplog.records if "stopped" in record.getMessage()]
    assert "keep has stopped t-3 at offset 11" in told
    assert "ValueError: can't bear bad" in told
    assert "dlq allow t 3 --up-to OFFSET" in told


async def test_a_letter_is_acknowledged_before_the_batch_is_done() -> None:
    given = Fixture(Keep())

    def gone(_: str) -> None:
        raise ConnectionError("the broker is gone")

    given.publisher.hook = gone
    with pytest.raises(ConnectionError):
        await given.process([MemoryBatch("t", 0, 0, written(b"hello", "a"))])


async def test_what_was_done_is_measured() -> None:
    step = Keep(poison("bad"))
    given = Fixture(step)
    began = given.clock.now
    real_apply = step.apply

    async def apply(slices: Sequence[Slice[Thing]]) -> None:
        given.clock.now += 500
        await real_apply(slices)

    step.apply = apply
    batches = [
        MemoryBatch("t", 0, 0, written("a", b"hello", b"bye"), timestamp=began - 2000),
        MemoryBatch("t", 1, 0, written("bad"), timestamp=began - 1000),
    ]
    await given.process(batches)
    assert given.metrics.counts == {("records_processed", "keep"): 4, ("dead_letters", "keep", "t"): 3}
    assert given.metrics.observed == {
        ("batch_records", "keep"): [4],
        ("batch_seconds", "keep"): [1.5],
        ("event_age_seconds", "keep"): [3.5],
    }


async def test_a_clock_behind_the_broker_s_measures_no_negative_age() -> None:
    given = Fixture(Keep())
    await given.process([MemoryBatch("t", 0, 0, written("a"), timestamp=given.clock.now + 5000)])
    assert given.metrics.observed["event_age_seconds", "keep"] == [0]


# -- together


async def test_together_gives_all_results_in_order() -> None:
    async def after(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    assert await together(after(3), after(1), after(2)) == [3, 1, 2]
    assert await together() == []


class Slow:
    """A work that ends only when it is cancelled, and takes its time for that."""

    def __init__(self) -> None:
        self.ended = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended = True


async def test_when_one_fails_the_others_have_ended_before_it_is_told() -> None:
    """A retry would meet what the first try left running."""
    slow = Slow()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise UnavailableError("down")

    with pytest.raises(UnavailableError):
        await together(slow.run(), fail())
    assert slow.ended


async def test_when_the_whole_is_cancelled_all_of_it_ends() -> None:
    slow = Slow()
    task = asyncio.create_task(together(slow.run(), slow.run()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow.ended
