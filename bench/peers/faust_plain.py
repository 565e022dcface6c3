"""Plain Faust: the same state in a table of Faust's own, with one write an event."""

import asyncio
import time
from typing import Any

import faust
from yarl import URL

from bench.contenders.watch import Runner, prepare
from bench.task import Outcome, Task, read_task, tell
from devconnect.events.facts import MessageSent
from devconnect.events.topics import message_events
from faust_batch.app import MAX_RECORDS


def build(task: Task) -> faust.App:
    """The app, with the settings that are known to make it quick."""
    app = faust.App(
        task.group,
        broker=[URL(f"kafka://{server}") for server in task.bootstrap.split(",")],
        datadir=task.folder,
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=len(task.ends),
        topic_replication_factor=1,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        broker_max_poll_records=MAX_RECORDS,
        consumer_auto_offset_reset="earliest",
        worker_redirect_stdouts=False,
    )
    table = app.Table("senders", partitions=len(task.ends))
    topic = app.topic(task.topic, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
    app.agent(topic, name="count")(Counting(app, task, table).count)
    return app


class Counting:
    """The agent."""

    def __init__(self, app: faust.App, task: Task, table: Any) -> None:
        self._app, self._task, self._table = app, task, table
        self._over: asyncio.Task[None] | None = None

    async def count(self, stream: Any) -> None:
        """One table write an event."""
        table, decode, total = self._table, message_events.decode, self._task.events
        done, began, half = 0, 0.0, 0.0
        async for value in stream:
            began = began or time.monotonic()
            event = decode(value)
            if isinstance(event, MessageSent):
                seen = table.get(event.sender)
                table[event.sender] = [seen[0] + 1 if seen else 1, event.at]
            done += 1
            if not half and done * 2 >= total:
                half = time.monotonic()
            if done == total:
                self._over = asyncio.create_task(self._end(Outcome(events=done, began=began, half=half, ended=0.0)))

    async def _end(self, outcome: Outcome) -> None:
        """The last event is about to be acknowledged: let the changelog out, and commit."""
        consumer = self._app.consumer
        while consumer.unacked:  # noqa: ASYNC110  # Faust tells nobody
            await asyncio.sleep(0)
        while self._app.producer.buffer.size:
            await self._app.producer.buffer.flush()
        await self._app.producer.flush()
        await consumer.commit()
        outcome.ended = time.monotonic()
        tell(outcome)


if __name__ == "__main__":
    prepare()
    Runner(build(read_task())).execute_from_commandline()
