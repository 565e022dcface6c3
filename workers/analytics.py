"""The analytics workers: they keep the tables, and publish the views that analysts read."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from faust.types import TP

from agents.analytics import FoldTables
from agents.processing import together
from agents.windows import CloseWindows, MergeWindows, Sources
from devconnect.adapters.redis.table_views import RedisTableViews
from devconnect.domain.analytics import Row
from devconnect.events.topics import ANALYTICS_PARTS, EVENT_TOPICS, changelog
from devconnect.ports import metrics as m
from devconnect.ports.letters import History
from devconnect.ports.publisher import DeadLetter
from devconnect.ports.truth import UnavailableError
from faust_batch.batch import Record
from faust_batch.changelog import Changelog
from faust_batch.table import BatchTable
from tables import analytics
from tables.views import ViewPublisher
from workers.runtime import Worker, applied_up_to, group_of, main
from workers.windows import KafkaProgress, KafkaWindowLog

logger = logging.getLogger(__name__)

#: Seconds that what happens is let gather: the events of a moment are one write a table then, not one each.
LINGER_SECONDS = 0.1


class TooManyUnreadableError(Exception):
    """So much of a changelog is no row that the table can't be trusted."""


def wire(worker: Worker) -> None:
    """One agent an events topic; the tables follow the partitions that are assigned."""
    views = ViewPublisher(RedisTableViews(worker.redis))
    tables = analytics.build(
        lambda topic: Changelog(worker.addresses.kafka, worker.producer, topic),
        lambda name: partial(views.note_restored, name),
        lambda name: partial(_bury, worker, name),
        worker.crash,
    )
    views.watch(tables)
    folds = {topic.name: FoldTables(topic, tables, views, worker.metrics) for topic in EVENT_TOPICS}
    for topic in EVENT_TOPICS:
        worker.add(topic, folds[topic.name])
    _wire_windows(worker, folds, tables, views)

    def assign(assigned: Mapping[str, set[int]]) -> None:
        for table in tables.values():
            table.assign(folded_here(assigned))

    counted = dict.fromkeys(tables, 0)

    def measure() -> None:
        for name, table in tables.items():
            worker.metrics.set(m.TABLE_ROWS, name, to=len(table))
            worker.metrics.set(m.RESTORED, name, to=_ratio(*table.progress()))
            worker.metrics.count(m.RECOVERED, name, by=table.recovered - counted[name])
            counted[name] = table.recovered

    worker.on_assigned(assign)
    worker.on_start(lambda: worker.background(asyncio.create_task(views.run(), name="views")))
    worker.refresh_with(measure)
    worker.health.stirs_with(lambda: sum(table.recovered for table in tables.values()))
    worker.ready_when(lambda: _restoring(list(tables.values())))


def folded_here(assigned: Mapping[str, set[int]]) -> set[int]:
    """The partitions whose rows are kept here: those of events. The one of the windows' parts may be elsewhere."""
    return {partition for topic in EVENT_TOPICS for partition in assigned.get(topic.name, ())}


def _wire_windows(
    worker: Worker, folds: Mapping[str, FoldTables], tables: Mapping[str, BatchTable[Row]], views: ViewPublisher
) -> None:
    """Windows of each topic are closed where it is folded, and merged where the one partition of their parts is."""
    progress, log = KafkaProgress(worker.addresses.kafka), KafkaWindowLog(worker.addresses.kafka)
    closers = [
        CloseWindows(
            folds[topic.name],
            Sources(
                topic,
                progress,
                worker.clock,
                decided_by=group_of("commands"),
                folded=partial(applied_up_to, worker, topic.name),
            ),
            tables,
            views=views,
            publisher=worker.publisher,
            metrics=worker.metrics,
            grace_ms=round(worker.settings.window_grace * 1000),
        )
        for topic in EVENT_TOPICS
    ]
    owns = partial(_is_assigned, worker, TP(ANALYTICS_PARTS.name, 0))
    merger = MergeWindows(log, worker.settings.partitions, owns, metrics=worker.metrics, clock=worker.clock)
    worker.add(ANALYTICS_PARTS, merger)
    worker.on_start(
        lambda: worker.background(asyncio.create_task(_close_windows(closers, progress, log), name="windows"))
    )


async def _close_windows(closers: Sequence[CloseWindows], progress: KafkaProgress, log: KafkaWindowLog) -> None:
    try:
        await together(*(closer.run() for closer in closers))
    finally:
        await progress.close()
        await log.close()


def _is_assigned(worker: Worker, place: TP) -> bool:
    return place in worker.app.consumer.assignment()


async def _bury(worker: Worker, table: str, partition: int, bad: Sequence[tuple[Record, ValueError]]) -> None:
    """What is in a changelog and is no row is kept where an operator finds it, once; its neighbours are restored."""
    topic = changelog(table).name
    agent = f"restore-{table}"
    known = await _known(worker, agent, topic, partition, before=bad[-1][0].offset + 1)
    why = bad[-1][1]
    bad = [each for each in bad if each[0].offset not in {*known.bad}]
    counted = [offset for offset in known.bad if offset > known.allowed]
    counted += [record.offset for record, _ in bad if record.offset > known.allowed]
    if len(counted) > worker.limits.run:
        raise TooManyUnreadableError(
            f"{topic}-{partition} has {len(counted)} records that are no rows; the last: {why}. "
            f"Mend the cause and restart this worker, or have them buried: "
            f"`python -m devconnect dlq allow {topic} {partition} --up-to OFFSET`"
        )
    letters = [
        DeadLetter(
            agent=agent,
            cause=str(why),
            topic=topic,
            partition=partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
        )
        for record, why in bad
    ]
    if letters:
        await worker.publisher.bury(letters)
        worker.metrics.count(m.DEAD_LETTERS, agent, topic, by=len(letters))


async def _known(worker: Worker, agent: str, topic: str, partition: int, before: int) -> History:
    """What former restores have buried."""
    while True:
        try:
            return await worker.letters.history(agent, topic, partition, 0, before)
        except UnavailableError as exc:
            logger.warning("%s waits: %s", agent, exc)
            await asyncio.sleep(1.0)


def _ratio(done: int, total: int) -> float:
    return done / total if total else 1.0


def _restoring(tables: list[BatchTable[Row]]) -> str | None:
    names = [table.name for table in tables if not table.is_ready()]
    return f"restoring {', '.join(names)}" if names else None


if __name__ == "__main__":
    main("analytics", 8014, wire, linger_seconds=LINGER_SECONDS)
