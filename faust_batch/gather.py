"""Group commit: while a handler is at work, the batches that arrive gather, and it takes all of them at once.

A lone batch is handed over at once; under load the handler's calls to its stores grow in size rather than in number.
With more lanes than one, what arrives of other partitions isn't held up by what is at work.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from faust_batch.batch import Batch, RevokedError

logger = logging.getLogger(__name__)

#: Records that may wait behind those in hand before no more are fetched; those that are fetched by then come on top.
MAX_WAITING = 20_000

Handler = Callable[[Sequence[Batch]], Awaitable[None]]


def _nothing() -> None:
    """Whoever puts batches here doesn't fetch them."""


class Gatherer:
    """Hands all waiting batches to `handle`, and acknowledges them when it returns.

    The batches of one partition are in order, and never in two calls at a time; of different partitions there may be as
    many calls at a time as `lanes`. An error of `handle` goes to `crash`, and nothing more is handed over: what was in
    hand stays unacknowledged.

    `full` is called when so many records wait that no more should be fetched, and `room` when they are taken. A batch
    never waits to be put here: whoever fetches does so for other handlers too.
    """

    def __init__(
        self,
        handle: Handler,
        crash: Callable[[BaseException], Awaitable[None]],
        *,
        lanes: int = 1,
        full: Callable[[], None] = _nothing,
        room: Callable[[], None] = _nothing,
    ) -> None:
        self._handle = handle
        self._crash = crash
        self._lanes = lanes
        self._full = full
        self._room = room
        self._waiting: list[Batch] = []
        self._records = 0
        self._arrived = asyncio.Event()
        self._failed = False
        #: The partitions of what is at work.
        self._at_work: set[tuple[str, int]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def put(self, batch: Batch) -> None:
        """Let the batch wait its turn."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._work(), name=f"gather {batch.topic}") for _ in range(self._lanes)]
        self._waiting.append(batch)
        self._records += len(batch.records)
        self._arrived.set()
        if self._records >= MAX_WAITING:
            self._full()

    async def stop(self) -> None:
        """End the work in hand; what isn't done is not acknowledged."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            batches = [batch for batch in self._take() if batch.is_current()]
            if not batches:
                continue
            partitions = {(batch.topic, batch.partition) for batch in batches}
            self._at_work |= partitions
            try:
                await self._handle(batches)
            except RevokedError as exc:
                logger.info("%r are left to who has their partitions now: %s", batches, exc)
            except Exception as exc:
                logger.exception("%r can't be processed: stopping", batches)
                self._failed = True
                await self._crash(exc)
                return
            else:
                for batch in batches:
                    batch.acknowledge()
            self._at_work -= partitions
            self._arrived.set()

    def _take(self) -> list[Batch]:
        """What waits of partitions that nobody is at work on; nothing once something has failed."""
        self._arrived.clear()
        if self._failed:
            return []
        before = self._records
        batches = [batch for batch in self._waiting if (batch.topic, batch.partition) not in self._at_work]
        self._waiting = [batch for batch in self._waiting if (batch.topic, batch.partition) in self._at_work]
        self._records = sum(len(batch.records) for batch in self._waiting)
        if self._records < MAX_WAITING <= before:
            self._room()
        return batches
