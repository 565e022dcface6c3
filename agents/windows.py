"""Closes windows: what each source partition has of them is told to one worker, which merges and publishes them."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from agents.analytics import FoldTables
from agents.processing import Slice
from devconnect.domain.analytics import PREFIXES, WINDOWED, Row, closed_until
from devconnect.domain.windows import Closing, Merge, closable
from devconnect.events.codec import Codec
from devconnect.events.parts import AnyPart, Erased, Published
from devconnect.events.topics import ANALYTICS_PARTS, COMMAND_TO_EVENT, Topic, analytics_parts
from devconnect.ports import metrics as m
from devconnect.ports.clock import Clock
from devconnect.ports.metrics import Metrics
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.truth import UnavailableError
from devconnect.ports.windows import Progress, WindowLog
from faust_batch.batch import RevokedError
from faust_batch.table import BatchTable
from tables.views import ViewPublisher

logger = logging.getLogger(__name__)

MERGE_WINDOWS = "merge-windows"
#: Seconds between two looks for windows that may be closed.
TICK_SECONDS = 1.0
#: A command may be this much older, in milliseconds, than the moment at which Kafka had it.
MARGIN_MS = 5_000
#: Rows that are looked at before the loop has its turn.
SLICE = 10_000
#: Windows a transaction.
MOST_WINDOWS = 500


class Sources:
    """How far the partitions of one events topic are in event time, those that stand still among them.

    Where nothing comes, the clock on the wall tells the time: but only when every command that Kafka had before is
    decided, and each of its events folded. `decided_by` is the consumer group of the command agents, and `folded` gives
    the offset up to which this worker has folded all of a partition; 0 where it knows of nothing.
    """

    def __init__(
        self, topic: Topic, progress: Progress, clock: Clock, *, decided_by: str, folded: Callable[[int], int]
    ) -> None:
        self.topic = topic
        self._progress = progress
        self._clock = clock
        self._decided_by = decided_by
        self._folded = folded
        [self._commands] = [command for command, event in COMMAND_TO_EVENT.items() if event is topic]

    def now(self) -> int:
        """The clock on the wall."""
        return self._clock.now_ms()

    def idle_until(self) -> int:
        """The time before which nothing is to come, where a partition stands still."""
        return self.now() - MARGIN_MS

    async def idle(self, partitions: Collection[int]) -> Mapping[int, int]:
        """The partitions of these that stand still, each with the time before which nothing is to come."""
        until = self.idle_until()
        return dict.fromkeys(await self.caught_up(partitions), until)

    async def caught_up(self, partitions: Collection[int]) -> Mapping[int, tuple[int, int]]:
        """The partitions of these in which all that Kafka had by now is folded: the end of their commands, and now."""
        now = self.now()
        # In this order: what Kafka had by `now` lies before these ends; where all of it is decided, its events
        # lie before those of the events, since the offsets of commands move last.
        accepted = await self._progress.ends(self._commands, partitions)
        decided = await self._progress.committed(self._decided_by, self._commands, partitions)
        written = await self._progress.ends(self.topic.name, partitions)
        found = {}
        for partition in partitions:
            if decided[partition] >= accepted[partition] and self._folded(partition) >= written[partition]:
                found[partition] = (accepted[partition], now)
        return found


class CloseWindows:
    """Closes the windows of one events topic, a partition and a table at a time, while nothing is being folded.

    First the parts are appended to `analytics-parts`, then the mark to the table, and with it the tombstones of what
    the table lets go of. A crash between the two repeats the parts, which does no harm.
    """

    def __init__(
        self,
        fold: FoldTables,
        sources: Sources,
        tables: Mapping[str, BatchTable[Row]],
        *,
        views: ViewPublisher,
        publisher: Publisher,
        metrics: Metrics,
        grace_ms: int,
    ) -> None:
        self._fold = fold
        self._sources = sources
        self._topic = sources.topic.name
        self._prefix = PREFIXES[self._topic]
        self._tables = [tables[name] for name, table in WINDOWED.items() if self._topic in table.sources]
        self._views = views
        self._publisher = publisher
        self._metrics = metrics
        self._grace_ms = grace_ms
        self._idle: dict[int, int] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self.tick()
            except UnavailableError as exc:
                logger.warning("windows of %s wait: %s", self._topic, exc)

    async def tick(self) -> None:
        """Close what may be closed, in the partitions whose tables are restored."""
        places = [
            (table, partition) for table in self._tables if table.is_ready() for partition in sorted(table.partitions())
        ]
        asked = {place[1] for place in places if await self._would_close_more(*place)}
        if asked:
            self._idle.update(await self._sources.idle(asked))
        for table, partition in places:
            async with self._fold.lock:
                due = await self._due(table, partition, self._watermark(partition))
                if due is not None:
                    await self._close(table, partition, *due)

    async def _would_close_more(self, table: BatchTable[Row], partition: int) -> bool:
        """Whether it is worth asking if the partition stands still."""
        by_clock = await self._due(table, partition, self._sources.idle_until())
        by_events = await self._due(table, partition, self._watermark(partition))
        return by_clock is not None and (by_events is None or by_clock[1] > by_events[1])

    def _watermark(self, partition: int) -> int:
        """No event with an earlier `at` is to come, but for those that are late. Never ahead of the clock."""
        folded = min(self._fold.watermarks.get(partition, 0), self._sources.now())
        return max(folded, self._idle.get(partition, 0))

    async def _due(self, table: BatchTable[Row], partition: int, watermark: int) -> tuple[int, int] | None:
        """Since when and up to when windows are to be closed; None where there is nothing to do."""
        try:
            since = closed_until(await table.rows(partition), self._prefix)
        except RevokedError:
            return None
        until = closable(WINDOWED[table.name], watermark, self._grace_ms)
        return (since, until) if until > since else None

    async def _close(self, table: BatchTable[Row], partition: int, since: int, until: int) -> None:
        closing = Closing(WINDOWED[table.name], self._topic, self._prefix, since=since, until=until)
        try:
            rows = await table.rows(partition)
            keys = list(rows)
            for start in range(0, len(keys), SLICE):
                closing.take(keys[start : start + SLICE], rows)
                await asyncio.sleep(0)
            parts = [_record(part) for part in closing.parts(partition, self._sources.now())]
            await self._publisher.publish(ANALYTICS_PARTS.name, 0, parts)
            changes = closing.changes()
            upto = await table.write(partition, changes)
        except RevokedError:
            logger.info("windows of %s-%d are left to who has it now", table.name, partition)
            return
        self._views.note(table.name, partition, changes, upto)
        self._metrics.count(m.WINDOWS_CLOSED, table.name, by=len(closing))
        self._metrics.count(m.EXPIRED_ROWS, table.name, by=closing.gone)


def _record(part: AnyPart) -> Record:
    return Record(part.key.encode(), analytics_parts.encode(part))


class MergeWindows:
    """Publishes each window once, as soon as all source partitions have given their parts of it.

    Works where the one partition of `analytics-parts` is. What it knows is made from that topic, read whole when it
    begins; to begin also keeps every worker from publishing that had begun before.
    """

    def __init__(
        self, log: WindowLog, partitions: int, owns: Callable[[], bool], *, metrics: Metrics, clock: Clock
    ) -> None:
        self.name = MERGE_WINDOWS
        self.codec: Codec[AnyPart | Erased] = analytics_parts
        self._log = log
        self._partitions = partitions
        self._owns = owns
        self._metrics = metrics
        self._clock = clock
        self._merge: Merge | None = None

    async def apply(self, slices: Sequence[Slice[AnyPart | Erased]]) -> None:
        """Take in the parts; publish what is whole."""
        if not self._owns():
            raise RevokedError(ANALYTICS_PARTS.name)
        try:
            merge = self._merge or await self._begin()
            for found in slices:
                # What is said of publishing is known from the log alone: here it might belong to what never happened.
                merge.take(part for part in found.values if not isinstance(part, Published | Erased))
            await self._publish(merge)
        except BaseException:
            self._merge = None
            raise
        self._merge = merge

    async def _begin(self) -> Merge:
        parts = await self._log.open()
        merge = Merge(self._partitions)
        merge.take(parts)
        logger.info("windows are merged here: %d parts are known", len(parts))
        return merge

    async def _publish(self, merge: Merge) -> None:
        while (publication := merge.due(self._clock.now_ms(), MOST_WINDOWS)) is not None:
            await self._log.publish(publication)
            merge.settle(publication)
            for event in publication.events:
                self._metrics.count(m.WINDOWS_PUBLISHED, event.table)
        for table in WINDOWED.values():
            until = merge.whole(table)
            if until:
                self._metrics.set(m.PUBLISHED_UNTIL, table.name, to=until / 1000)
