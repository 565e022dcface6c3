"""What every agent does around its own step: decode, time, wait for stores that are down, bury what can't be used."""

import asyncio
import logging
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from devconnect.events.codec import Codec, CodecError
from devconnect.ports import metrics as m
from devconnect.ports.clock import Clock
from devconnect.ports.metrics import Metrics
from devconnect.ports.publisher import DeadLetter, Publisher
from devconnect.ports.truth import UnavailableError
from faust_batch.batch import Batch, Record, RevokedError

T = TypeVar("T", bound=Struct)

logger = logging.getLogger(__name__)

#: Seconds between tries while a store is down: doubling from the first to the last, with jitter.
FIRST_WAIT = 0.1
LONGEST_WAIT = 2.0


class Slice(Struct, Generic[T], frozen=True):
    """Decoded records of one partition in offset order; each value stands at the index of its record."""

    topic: str
    partition: int
    records: Sequence[Record]
    values: Sequence[T]


class Step(Protocol[T]):
    """What one agent does with the decoded records of a topic."""

    name: str
    codec: Codec[T]

    async def apply(self, slices: Sequence[Slice[T]]) -> None:
        """Have the effects of these records, a slice a partition; called again with the same ones, have them once.

        Raises UnavailableError to be called again later. Any other error means that one of them can't be applied.
        """


class Processor(Generic[T]):
    """Takes batches for a step. Returns only when each record is applied or buried."""

    def __init__(self, step: Step[T], publisher: Publisher, metrics: Metrics, clock: Clock) -> None:
        self._step = step
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, batches: Sequence[Batch]) -> None:
        began = self._clock.now_ms()
        slices, letters = self._decode(batches)
        if letters:
            await self._bury(letters)
        if slices:
            await self._apply(slices)
        self._record(batches, began)

    def _decode(self, batches: Sequence[Batch]) -> tuple[list[Slice[T]], list[DeadLetter]]:
        """A slice for each partition of which something can be decoded, and the letters for what can't."""
        partitions: dict[tuple[str, int], list[Record]] = {}
        for batch in batches:
            partitions.setdefault((batch.topic, batch.partition), []).extend(batch.records)
        slices: list[Slice[T]] = []
        letters: list[DeadLetter] = []
        for (topic, partition), records in partitions.items():
            try:
                values = self._step.codec.decode_all([record.value for record in records])
                slices.append(Slice(topic, partition, records, values))
            except CodecError:
                found, bad = self._decode_each(topic, partition, records)
                letters += bad
                if found.values:
                    slices.append(found)
        return slices, letters

    def _decode_each(self, topic: str, partition: int, records: Sequence[Record]) -> tuple[Slice[T], list[DeadLetter]]:
        good: list[Record] = []
        values: list[T] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                values.append(self._step.codec.decode(record.value))
            except CodecError as exc:
                letters.append(self._letter(topic, partition, record, str(exc)))
            else:
                good.append(record)
        return Slice(topic, partition, good, values), letters

    async def _apply(self, slices: Sequence[Slice[T]]) -> None:
        """Apply all, or halve until the records that can't be applied stand alone, and bury those."""
        try:
            await self._apply_when_possible(slices)
        except RevokedError:
            raise
        except Exception as exc:
            halves = _halved(slices)
            if halves is None:
                [only] = slices
                [record] = only.records
                logger.exception(
                    "%s: %s-%d at %d is buried", self._step.name, only.topic, only.partition, record.offset
                )
                cause = f"{type(exc).__name__}: {exc}"
                await self._bury([self._letter(only.topic, only.partition, record, cause)])
                return
            for half in halves:
                await self._apply(half)

    async def _apply_when_possible(self, slices: Sequence[Slice[T]]) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                return await self._step.apply(slices)
            except UnavailableError as exc:
                self._metrics.count(m.RETRIES, self._step.name)
                logger.warning("%s waits: %s", self._step.name, exc)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
                wait = min(wait * 2, LONGEST_WAIT)

    def _letter(self, topic: str, partition: int, record: Record, cause: str) -> DeadLetter:
        return DeadLetter(
            agent=self._step.name,
            cause=cause,
            topic=topic,
            partition=partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
        )

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        await self._publisher.bury(letters)
        self._metrics.count(m.DEAD_LETTERS, self._step.name, letters[0].topic, by=len(letters))

    def _record(self, batches: Sequence[Batch], began: int) -> None:
        name, now = self._step.name, self._clock.now_ms()
        count = sum(len(batch.records) for batch in batches)
        oldest = min(batch.records[0].timestamp for batch in batches)
        self._metrics.count(m.RECORDS, name, by=count)
        self._metrics.observe(m.BATCH_RECORDS, name, value=count)
        self._metrics.observe(m.BATCH_SECONDS, name, value=(now - began) / 1000)
        self._metrics.observe(m.EVENT_AGE, name, value=max(0, now - oldest) / 1000)


def _halved(slices: Sequence[Slice[T]]) -> tuple[Sequence[Slice[T]], Sequence[Slice[T]]] | None:
    """The slices, or the only one's records, in two halves; None for a single record."""
    if len(slices) > 1:
        middle = len(slices) // 2
        return slices[:middle], slices[middle:]
    [only] = slices
    middle = len(only.records) // 2
    if middle == 0:
        return None
    return (
        [Slice(only.topic, only.partition, only.records[:middle], only.values[:middle])],
        [Slice(only.topic, only.partition, only.records[middle:], only.values[middle:])],
    )


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
