"""Folds the events of one topic into the analytics tables."""

from collections.abc import Mapping, Sequence

from agents.processing import Slice, together
from devconnect.domain import analytics
from devconnect.domain.analytics import Row
from devconnect.events.facts import AnyEvent
from devconnect.events.topics import Topic
from faust_batch.table import BatchTable
from tables.analytics import PREFIXES
from tables.views import ViewPublisher


class FoldTables:
    """The analytics agent of one events topic."""

    def __init__(self, topic: Topic, tables: Mapping[str, BatchTable[Row]], views: ViewPublisher) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"fold-{topic.name}"
        self.codec = topic.codec
        self._prefix = PREFIXES[topic.name]
        self._tables = tables
        self._views = views

    async def apply(self, slices: Sequence[Slice[AnyEvent]]) -> None:
        """Count the events in every table; each touched row is written once."""
        await together(
            *(self._fold(table, part.partition, part.values) for part in slices for table in self._tables.values())
        )

    async def _fold(self, table: BatchTable[Row], partition: int, events: Sequence[AnyEvent]) -> None:
        rows = await table.rows(partition)
        changed = analytics.fold(analytics.TABLES[table.name], rows, self._prefix, events)
        if changed:
            upto = await table.write(partition, changed)
            self._views.note(table.name, partition, changed, upto)
