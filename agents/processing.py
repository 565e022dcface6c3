"""What every agent does around its own step: decode, time, wait for stores that are down, bury what can't be used."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from agents.limiting import Bad, Case, Limiter, Part, Stop
from agents.slices import Slice, halved
from devconnect.events.codec import Codec, CodecError
from devconnect.ports import metrics as m
from devconnect.ports.clock import Clock
from devconnect.ports.metrics import Metrics
from devconnect.ports.publisher import DeadLetter, Publisher
from devconnect.ports.truth import UnavailableError
from faust_batch.batch import Batch, Record, RevokedError

__all__ = ["Processor", "Slice", "Step", "together"]

T = TypeVar("T", bound=Struct)
R = TypeVar("R")

logger = logging.getLogger(__name__)

#: Seconds between tries while a store is down: doubling from the first to the last, with jitter.
FIRST_WAIT = 0.1
LONGEST_WAIT = 2.0


class Step(Protocol[T]):
    """What one agent does with the decoded records of a topic."""

    name: str
    codec: Codec[T]

    async def apply(self, slices: Sequence[Slice[T]]) -> None:
        """Have the effects of these records, a slice a partition; called again with the same ones, have them once.

        Raises UnavailableError to be called again later. Any other error means that one of them can't be applied.
        """


class Processor(Generic[T]):
    """Takes batches for a step. Returns when each record is applied or buried, or its partition stopped before it."""

    def __init__(
        self,
        step: Step[T],
        publisher: Publisher,
        metrics: Metrics,
        clock: Clock,
        limiter: Limiter,
    ) -> None:
        self._step = step
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock
        self._limiter = limiter

    @property
    def name(self) -> str:
        """The agent's."""
        return self._step.name

    async def __call__(self, batches: Sequence[Batch]) -> None:
        began = self._clock.now_ms()
        firsts: dict[Part, int] = {}
        for batch in batches:
            firsts.setdefault((batch.topic, batch.partition), batch.first_offset)
        slices, undecoded = self._decode(batches)
        cases: dict[Part, Case] = {}
        for part, bad in undecoded.items():
            await self._note(cases, firsts, part, bad)
        await self._apply(slices, cases, firsts)
        left = 0
        for part, case in cases.items():
            await self._bury(part, firsts[part], case.to_bury())
            if case.stop is not None:
                left += self._stop(part, case, batches)
        self._record(batches, began, left)

    # -- partitions that are stopped

    def forget(self) -> None:
        """The partitions were assigned anew: none is stopped until it is found bad again."""
        for stop in self.stops():
            self._metrics.set(m.STOPPED, self.name, stop.topic, str(stop.partition), to=0)
        self._limiter.forget()

    def stops(self) -> list[Stop]:
        """The partitions that are stopped."""
        return self._limiter.stops()

    async def release(self, stop: Stop) -> None:
        """Go on with a stopped partition: more is allowed now."""
        logger.info("%s goes on with %s-%d from %d", self.name, stop.topic, stop.partition, stop.offset)
        self._metrics.set(m.STOPPED, self.name, stop.topic, str(stop.partition), to=0)
        await self._limiter.release(stop)

    def _stop(self, part: Part, case: Case, batches: Sequence[Batch]) -> int:
        """Hold the partition; returns how many of its records are left alone."""
        topic, partition = part
        if case.stop is None:
            return 0
        own = [batch for batch in batches if (batch.topic, batch.partition) == part]
        at = next(batch for batch in own if case.stop < batch.next_offset)
        left = sum(record.offset >= case.stop for batch in own for record in batch.records)
        if not at.is_current():
            return left  # whoever has the partition now comes to the same
        self._limiter.stop(Stop(topic, partition, case.stop, at))
        self._metrics.set(m.STOPPED, self.name, topic, str(partition), to=1)
        logger.error(
            "%s has stopped %s-%d at offset %d, too much there is bad: %s. Nothing from there on is processed or lost. "
            "Mend the cause and restart this worker, or have what is bad buried: "
            "`python -m devconnect dlq allow %s %d --up-to OFFSET`",
            *(self.name, topic, partition, case.stop, case.cause, topic, partition),
        )
        return left

    # -- records

    def _decode(self, batches: Sequence[Batch]) -> tuple[list[Slice[T]], dict[Part, list[Bad]]]:
        """A slice for each partition of which something can be decoded, and what can't."""
        partitions: dict[Part, list[Record]] = {}
        for batch in batches:
            partitions.setdefault((batch.topic, batch.partition), []).extend(batch.records)
        slices: list[Slice[T]] = []
        undecoded: dict[Part, list[Bad]] = {}
        for part, records in partitions.items():
            try:
                values = self._step.codec.decode_all([record.value for record in records])
                slices.append(Slice(*part, records, values))
            except CodecError:
                found, undecoded[part] = self._decode_each(part, records)
                if found.values:
                    slices.append(found)
        return slices, undecoded

    def _decode_each(self, part: Part, records: Sequence[Record]) -> tuple[Slice[T], list[Bad]]:
        good: list[Record] = []
        values: list[T] = []
        undecoded: list[Bad] = []
        for record in records:
            try:
                values.append(self._step.codec.decode(record.value))
            except CodecError as exc:
                undecoded.append(Bad(record, str(exc)))
            else:
                good.append(record)
        return Slice(*part, good, values), undecoded

    async def _note(self, cases: dict[Part, Case], firsts: Mapping[Part, int], part: Part, bad: Sequence[Bad]) -> None:
        if part not in cases:
            cases[part] = await self._when_possible(lambda: self._limiter.open(*part, firsts[part]))
        cases[part].add(bad)

    async def _apply(self, slices: Sequence[Slice[T]], cases: dict[Part, Case], firsts: Mapping[Part, int]) -> None:
        """Apply all up to where a partition stops, or halve until the records that can't be applied stand alone."""
        if cases:
            kept = [
                cases[part].before_stop(each) if (part := (each.topic, each.partition)) in cases else each
                for each in slices
            ]
            slices = [each for each in kept if each.records]
        if not slices:
            return
        try:
            await self._when_possible(lambda: self._step.apply(slices))
        except RevokedError:
            raise
        except Exception as exc:
            halves = halved(slices)
            if halves is None:
                [only] = slices
                [record] = only.records
                logger.exception("%s can't apply %s-%d at %d", self.name, only.topic, only.partition, record.offset)
                bad = [Bad(record, f"{type(exc).__name__}: {exc}")]
                await self._note(cases, firsts, (only.topic, only.partition), bad)
                return
            for half in halves:
                await self._apply(half, cases, firsts)

    async def _when_possible(self, work: Callable[[], Awaitable[R]]) -> R:
        wait = FIRST_WAIT
        while True:
            try:
                return await work()
            except UnavailableError as exc:
                self._metrics.count(m.RETRIES, self.name)
                logger.warning("%s waits: %s", self.name, exc)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
                wait = min(wait * 2, LONGEST_WAIT)

    async def _bury(self, part: Part, first: int, bad: Sequence[Bad]) -> None:
        if not bad:
            return
        topic, partition = part
        letters = [
            DeadLetter(
                agent=self.name,
                cause=cause,
                topic=topic,
                partition=partition,
                offset=record.offset,
                key=record.key,
                value=record.value,
                headers=tuple(record.headers),
            )
            for record, cause in bad
        ]
        await self._publisher.bury(letters)
        self._limiter.close(topic, partition, first, bad)
        self._metrics.count(m.DEAD_LETTERS, self.name, topic, by=len(letters))

    def _record(self, batches: Sequence[Batch], began: int, left: int) -> None:
        name, now = self.name, self._clock.now_ms()
        count = sum(len(batch.records) for batch in batches) - left
        oldest = min(batch.records[0].timestamp for batch in batches)
        self._metrics.count(m.RECORDS, name, by=count)
        self._metrics.observe(m.BATCH_RECORDS, name, value=count)
        self._metrics.observe(m.BATCH_SECONDS, name, value=(now - began) / 1000)
        self._metrics.observe(m.EVENT_AGE, name, value=max(0, now - oldest) / 1000)


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Await all of them side by side. When one fails the others are ended first, so that a retry meets none of them."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
