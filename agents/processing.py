"""What every agent does around its own step: decode, time, wait for stores that are down, bury what can't be used."""

import asyncio
import logging
import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from devconnect.domain.model import Place
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


class Item(Struct, Generic[T], frozen=True):
    """A decoded record and where it stands."""

    place: Place
    value: T


class Step(Protocol[T]):
    """What one agent does with decoded items of a topic: those of one partition are in order."""

    name: str
    codec: Codec[T]

    async def apply(self, items: Sequence[Item[T]]) -> None:
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

    async def __call__(self, batches: Sequence[Batch]) -> None:
        began = self._clock.now_ms()
        records = {
            Place(batch.topic, batch.partition, record.offset): record for batch in batches for record in batch.records
        }
        items, letters = self._decode(records)
        if letters:
            await self._bury(letters)
        if items:
            await self._apply(items, records)
        self._record(batches, began)

    def _decode(self, records: Mapping[Place, Record]) -> tuple[list[Item[T]], list[DeadLetter]]:
        items: list[Item[T]] = []
        letters: list[DeadLetter] = []
        for place, record in records.items():
            try:
                items.append(Item(place, self._step.codec.decode(record.value)))
            except CodecError as exc:
                letters.append(self._letter(place, record, str(exc)))
        return items, letters

    async def _apply(self, items: Sequence[Item[T]], records: Mapping[Place, Record]) -> None:
        """Apply all, or halve until the items that can't be applied stand alone, and bury those."""
        try:
            await self._apply_when_possible(items)
        except RevokedError:
            raise
        except Exception as exc:
            if len(items) == 1:
                place = items[0].place
                logger.exception("%s: %s is buried", self._step.name, place)
                await self._bury([self._letter(place, records[place], f"{type(exc).__name__}: {exc}")])
                return
            middle = len(items) // 2
            await self._apply(items[:middle], records)
            await self._apply(items[middle:], records)

    async def _apply_when_possible(self, items: Sequence[Item[T]]) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                return await self._step.apply(items)
            except UnavailableError as exc:
                self._metrics.count(m.RETRIES, self._step.name)
                logger.warning("%s waits: %s", self._step.name, exc)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
                wait = min(wait * 2, LONGEST_WAIT)

    def _letter(self, place: Place, record: Record, cause: str) -> DeadLetter:
        return DeadLetter(
            agent=self._step.name,
            cause=cause,
            topic=place.topic,
            partition=place.partition,
            offset=place.offset,
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
