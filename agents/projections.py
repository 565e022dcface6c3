"""Keeps the read models up to date from the events of one topic."""

from collections.abc import Sequence

from agents.processing import Slice
from devconnect.domain import projections
from devconnect.events.facts import AnyEvent
from devconnect.events.topics import Topic
from devconnect.ports.projections import Projections


class ProjectEvents:
    """The projection agent of one events topic."""

    def __init__(self, topic: Topic, store: Projections) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"project-{topic.name}"
        self.codec = topic.codec
        self._store = store

    async def apply(self, slices: Sequence[Slice[AnyEvent]]) -> None:
        """Apply what each event changes in what people read."""
        updates = [update for part in slices for event in part.values for update in projections.project(event)]
        if updates:
            await self._store.apply(updates)
