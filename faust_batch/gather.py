"""Group commit: while a handler is at work, the batches that arrive gather, and it takes all of them at once.

A lone batch is handed over at once; under load the handler's calls to its stores grow in size rather than in number.
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

    The batches of one partition are in order, and never in two calls at a time. An error of `handle` goes to `crash`,
    and nothing more is handed over: what was in hand stays unacknowledged.

    `full` is called when so many records wait that no more should be fetched, and `room` when they are taken. A batch
    never waits to be put here: whoever fetches does so for other handlers too.
    """

    def __init__(
        self,
        handle: Handler,
        crash: Callable[[BaseException], Awaitable[None]],
        *,
        full: Callable[[], None] = _nothing,
        room: Callable[[], None] = _nothing,
    ) -> None:
        self._handle = handle
        self._crash = crash
        self._full = full
        self._room = room
        self._waiting: list[Batch] = []
        self._records = 0
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def put(self, batch: Batch) -> None:
        """Let the batch wait its turn."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"gather {batch.topic}")
        self._waiting.append(batch)
        self._records += len(batch.records)
        self._arrived.set()
        if self._records >= MAX_WAITING:
            self._full()

    async def stop(self) -> None:
        """End the work in hand; what isn't done is not acknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            batches = [batch for batch in self._take() if batch.is_current()]
            if not batches:
                continue
            try:
                await self._handle(batches)
            except RevokedError as exc:
                logger.info("%r are left to who has their partitions now: %s", batches, exc)
            except Exception as exc:
                logger.exception("%r can't be processed: stopping", batches)
                await self._crash(exc)
                return
            else:
                for batch in batches:
                    batch.acknowledge()

    def _take(self) -> list[Batch]:
        if self._records >= MAX_WAITING:
            self._room()
        batches, self._waiting, self._records = self._waiting, [], 0
        self._arrived.clear()
        return batches
