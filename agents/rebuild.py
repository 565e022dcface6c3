"""Builds the read models anew when they were lost: from the first event on, beside the agents that follow the newest.

A store that was only started anew may be what it was some time ago: everything is applied to it again.

Every update moves forward only, so that both may touch the same record in any order. While the read models aren't
complete, the gateways read from the database what a half-filled Redis could get wrong.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from devconnect.domain import projections
from devconnect.events.codec import CodecError
from devconnect.events.topics import Topic
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
                    await self.repeat()
            except UnavailableError as exc:
                logger.warning("the read models wait: %s", exc)
            await asyncio.sleep(AUDIT_SECONDS)

    async def rebuild(self) -> None:
        """Apply every event there is; then the read models are complete."""
        count = await self._apply_all()
        await self._store.declare_complete()
        self.complete = True
        logger.info("the read models were built anew from %d events", count)

    async def repeat(self) -> None:
        """Apply every event to a store that may have forgotten some; then readers may believe what it says of people.

        It comes back as it was when it last wrote, or as the replica that took its place had it. Who has logged out or
        lost a role meanwhile must not be let in by what it remembers.
        """
        count = await self._apply_all()
        await self._store.declare_sessions_known()
        logger.info("the store was started anew: %d events were applied again", count)

    async def _apply_all(self) -> int:
        """Apply every event of every topic; how many there were."""
        count = 0
        for topic in self._topics:
            async for chunk in self._read(topic.name):
                await self._apply(topic, chunk)
                count += len(chunk.records)
        return count

    async def _apply(self, topic: Topic, chunk: Chunk) -> None:
        """Apply the updates that the events lead to."""
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        updates: list[projections.Update] = []
        for record in chunk.records:
            try:
                found = projections.project(topic.codec.decode(record.value))
            except CodecError:
                continue  # the agent that met it first has buried it
            updates.extend(found)
        if updates:
            await self._store.apply(updates)
