"""What every agent does around its own step: decode, time, wait for stores that are down, bury what can't be used."""

import asyncio
import logging
import random
from collections.abc import Sequence
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


class Source(Struct, frozen=True):
    """Where a batch comes from."""

    topic: str
    partition: int


class Item(Struct, Generic[T], frozen=True):
    """A decoded record and its offset."""

    offset: int
    value: T


class Step(Protocol[T]):
    """What one agent does with the decoded items of one partition."""

    name: str
    codec: Codec[T]

    async def apply(self, source: Source, items: Sequence[Item[T]]) -> None:
        """Have the effects of these items; called again with the same ones, have them once all the same.

        Raises UnavailableError to be called again later. Any other error means that one of the items can't be applied.
        """


class Processor(Generic[T]):
    """Takes batches for a step. Returns only when each record is applied or buried."""

    def __init__(self, step: Step[T], publisher: Publisher, metrics: Metrics, clock: Clock) -> None:
        self._step = step
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, batch: Batch) -> None:
        began = self._clock.now_ms()
        source = Source(batch.topic, batch.partition)
        items, letters = self._decode(source, batch.records)
        if letters:
            await self._bury(letters)
        if items:
            by_offset = {record.offset: record for record in batch.records}
            await self._apply(source, items, by_offset)
        self._record(batch, began)

    def _decode(self, source: Source, records: Sequence[Record]) -> tuple[list[Item[T]], list[DeadLetter]]:
        items: list[Item[T]] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                items.append(Item(record.offset, self._step.codec.decode(record.value)))
            except CodecError as exc:
                letters.append(self._letter(source, record, str(exc)))
        return items, letters

    async def _apply(self, source: Source, items: Sequence[Item[T]], records: dict[int, Record]) -> None:
        """Apply all, or halve until the items that can't be applied stand alone, and bury those."""
        try:
            await self._apply_when_possible(source, items)
        except RevokedError:
            raise
        except Exception as exc:
            if len(items) == 1:
                logger.exception("%s: %s-%s@%s is buried", self._step.name, *_place(source, items[0].offset))
                record = records[items[0].offset]
                await self._bury([self._letter(source, record, f"{type(exc).__name__}: {exc}")])
                return
            middle = len(items) // 2
            await self._apply(source, items[:middle], records)
            await self._apply(source, items[middle:], records)

    async def _apply_when_possible(self, source: Source, items: Sequence[Item[T]]) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                return await self._step.apply(source, items)
            except UnavailableError as exc:
                self._metrics.count(m.RETRIES, self._step.name)
                logger.warning("%s waits: %s", self._step.name, exc)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
                wait = min(wait * 2, LONGEST_WAIT)

    def _letter(self, source: Source, record: Record, cause: str) -> DeadLetter:
        return DeadLetter(
            agent=self._step.name,
            cause=cause,
            topic=source.topic,
            partition=source.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
        )

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        await self._publisher.bury(letters)
        self._metrics.count(m.DEAD_LETTERS, self._step.name, letters[0].topic, by=len(letters))

    def _record(self, batch: Batch, began: int) -> None:
        name, now = self._step.name, self._clock.now_ms()
        self._metrics.count(m.RECORDS, name, by=len(batch.records))
        self._metrics.observe(m.BATCH_RECORDS, name, value=len(batch.records))
        self._metrics.observe(m.BATCH_SECONDS, name, value=(now - began) / 1000)
        self._metrics.observe(m.EVENT_AGE, name, value=max(0, now - batch.records[-1].timestamp) / 1000)


def _place(source: Source, offset: int) -> tuple[Any, ...]:
    return source.topic, source.partition, offset
