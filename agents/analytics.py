"""Folds the events of one topic into the analytics tables."""

import asyncio
from collections.abc import Mapping, Sequence

from agents.processing import Slice, together
from devconnect.domain import analytics
from devconnect.domain.analytics import PREFIXES, Row
from devconnect.domain.folding import Run, fold
from devconnect.events.facts import AnyEvent
from devconnect.events.topics import Topic
from devconnect.ports import metrics as m
from devconnect.ports.metrics import Metrics
from faust_batch.table import BatchTable
from tables.views import ViewPublisher


class FoldTables:
    """The analytics agent of one events topic.

    `watermarks` is the greatest `at` of the events that were folded, by partition. Who holds `lock` knows that nothing
    is being folded.
    """

    def __init__(
        self, topic: Topic, tables: Mapping[str, BatchTable[Row]], views: ViewPublisher, metrics: Metrics
    ) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"fold-{topic.name}"
        self.codec = topic.codec
        self.watermarks: dict[int, int] = {}
        self.lock = asyncio.Lock()
        self._prefix = PREFIXES[topic.name]
        self._tables = [tables[name] for name, table in analytics.TABLES.items() if topic.name in table.sources]
        self._views = views
        self._metrics = metrics

    async def apply(self, slices: Sequence[Slice[AnyEvent]]) -> None:
        """Count the events in every table; each touched row is written once."""
        runs = [(part.partition, Run.of(part.values)) for part in slices]
        async with self.lock:
            await together(*(self._fold(table, partition, run) for partition, run in runs for table in self._tables))
            for partition, run in runs:
                self.watermarks[partition] = max(run.watermark, self.watermarks.get(partition, 0))

    async def _fold(self, table: BatchTable[Row], partition: int, run: Run) -> None:
        rows = await table.rows(partition)
        changed, late, expired = fold(analytics.TABLES[table.name], rows, self._prefix, run)
        if changed:
            upto = await table.write(partition, changed)
            self._views.note(table.name, partition, changed, upto)
        if late:
            self._metrics.count(m.LATE_EVENTS, table.name, by=late)
        if expired:
            self._metrics.count(m.EXPIRED_EVENTS, table.name, by=expired)
