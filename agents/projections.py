"""Keeps the read models up to date from the events of one topic."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from agents.processing import Slice
from agents.windows import Sources
from devconnect.domain import projections
from devconnect.events.base import seq_of
from devconnect.events.facts import AnyEvent
from devconnect.events.topics import Topic
from devconnect.ports.projections import Mark, Projections
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: Seconds between two looks whether all is applied.
REFRESH_SECONDS = 1.0


class ProjectEvents:
    """The projection agent of one events topic."""

    def __init__(self, topic: Topic, store: Projections) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"project-{topic.name}"
        self.codec = topic.codec
        self._topic = topic.name
        self._store = store

    async def apply(self, slices: Sequence[Slice[AnyEvent]]) -> None:
        """Apply what each event changes in what people read; then say how far that is."""
        updates = [update for part in slices for event in part.values for update in projections.project(event)]
        if updates:
            await self._store.apply(updates)
        marks = {part.partition: _mark(part) for part in slices if part.values}
        if marks:
            await self._store.applied(self._topic, marks)


def _mark(part: Slice[AnyEvent]) -> Mark:
    # `seq` grows within a partition. `at` needn't: what was accepted first isn't always first in Kafka.
    return Mark(part.values[-1].seq, max(event.at for event in part.values))


class RefreshMarks:
    """Tells readers how fresh their reads are where nothing happens.

    A partition is caught up when every command that Kafka had before the look is decided, and each of their events
    applied: then all that had happened by the look is in the read models, up to the last `seq` that those commands can
    have led to. That is looked for only while the read models are complete.
    """

    def __init__(
        self,
        sources: Sequence[Sources],
        assigned: Callable[[str], Collection[int]],
        complete: Callable[[], bool],
        store: Projections,
    ) -> None:
        """`assigned` gives the partitions of an events topic that this worker applies."""
        self._sources = sources
        self._assigned = assigned
        self._complete = complete
        self._store = store

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.tick()
            except UnavailableError as exc:
                logger.warning("how fresh the read models are isn't told: %s", exc)

    async def tick(self) -> None:
        """Mark the partitions that are caught up."""
        for source in self._sources:
            partitions = set(self._assigned(source.topic.name))
            if not partitions or not self._complete():
                continue
            found = await source.caught_up(partitions)
            marks = {partition: Mark(seq_of(end) - 1, at) for partition, (end, at) in found.items()}
            if marks:
                await self._store.applied(source.topic.name, marks)
