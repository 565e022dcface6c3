"""Builds the read models anew when they were lost: from the first event on, beside the agents that follow the newest.

Every update moves forward only, so that both may touch the same record in any order. While the read models aren't
complete, the gateways read from the database what a half-filled Redis could get wrong.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from devconnect.domain import projections
from devconnect.domain.projections import EndSession
from devconnect.events.codec import CodecError
from devconnect.events.topics import USER_EVENTS, Topic
from devconnect.ports.projections import Projections
from devconnect.ports.truth import UnavailableError
from faust_batch.changelog import Chunk

logger = logging.getLogger(__name__)

#: Seconds between looks.
AUDIT_SECONDS = 1.0

#: Reads a topic from its first record to its end of now; UnavailableError when that can't be done.
ReadAll = Callable[[str], AsyncIterator[Chunk]]


class RebuildProjections:
    """Looks now and then whether the read models are complete, and completes them."""

    def __init__(self, topics: Sequence[Topic], read: ReadAll, store: Projections) -> None:
        self._topics = topics
        self._read = read
        self._store = store
        #: Whether they were complete at the last look.
        self.complete = False

    async def run(self) -> None:
        """Look for ever; a store that is down is looked at again."""
        while True:
            try:
                self.complete = await self._store.complete()
                if not self.complete:
                    await self.rebuild()
                if not await self._store.sessions_known():
                    await self.repeat_log_outs()
            except UnavailableError as exc:
                logger.warning("the read models wait: %s", exc)
            await asyncio.sleep(AUDIT_SECONDS)

    async def rebuild(self) -> None:
        """Apply every event there is; then the read models are complete."""
        count = 0
        for topic in self._topics:
            async for chunk in self._read(topic.name):
                await self._apply(topic, chunk)
                count += len(chunk.records)
        await self._store.declare_complete()
        self.complete = True
        logger.info("the read models were built anew from %d events", count)

    async def repeat_log_outs(self) -> None:
        """Apply the end of every session; then readers may believe that a session is open.

        Who logged out while the store was down must not be let in by what it remembers when it is back.
        """
        async for chunk in self._read(USER_EVENTS.name):
            await self._apply(USER_EVENTS, chunk, of=EndSession)
        await self._store.declare_sessions_known()

    async def _apply(self, topic: Topic, chunk: Chunk, of: type = object) -> None:
        """Apply the updates of this type that the events lead to."""
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        updates: list[projections.Update] = []
        for record in chunk.records:
            try:
                found = projections.project(topic.codec.decode(record.value))
            except CodecError:
                continue  # the agent that met it first has buried it
            updates.extend(update for update in found if isinstance(update, of))
        if updates:
            await self._store.apply(updates)
