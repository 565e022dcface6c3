"""A bare aiokafka loop: what a Python process can take in when nothing stands between it and the client."""

import asyncio
import time

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.task import Outcome, Task, read_task, tell
from devconnect.events.topics import message_events
from faust_batch.app import MAX_RECORDS


async def run(task: Task) -> None:
    """Read and decode all records, then commit."""
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.bootstrap,
        group_id=task.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    events, began, half = 0, 0.0, 0.0
    decode = message_events.decode
    while events < task.events:
        found = await consumer.getmany(timeout_ms=1000, max_records=MAX_RECORDS)
        if found and not began:
            began = time.monotonic()
        for records in found.values():
            for record in records:
                decode(record.value)
            events += len(records)
        if not half and events * 2 >= task.events:
            half = time.monotonic()
    await consumer.commit({TopicPartition(task.topic, number): end for number, end in task.ends.items()})
    tell(Outcome(events=events, began=began, half=half, ended=time.monotonic()))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(run(read_task()))
