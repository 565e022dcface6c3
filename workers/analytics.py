"""The analytics workers: they keep the tables, and publish the views that analysts read."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from agents.analytics import FoldTables
from devconnect.adapters.redis.table_views import RedisTableViews
from devconnect.domain.analytics import Row
from devconnect.events.topics import EVENT_TOPICS, changelog
from devconnect.ports import metrics as m
from devconnect.ports.letters import History
from devconnect.ports.publisher import DeadLetter
from devconnect.ports.truth import UnavailableError
from faust_batch.batch import Record
from faust_batch.changelog import Changelog
from faust_batch.table import BatchTable
from tables import analytics
from tables.views import ViewPublisher
from workers.runtime import Worker, main

logger = logging.getLogger(__name__)


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
    for topic in EVENT_TOPICS:
        worker.add(topic, FoldTables(topic, tables, views, worker.metrics))

    def assign(partitions: set[int]) -> None:
        for table in tables.values():
            table.assign(partitions)

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
    main("analytics", 8014, wire)
