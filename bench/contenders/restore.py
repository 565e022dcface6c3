"""Reads a changelog whole: as our table restores it (`table`), or as a bare aiokafka loop reads it (`bare`).

The clock runs from the call to the end, so that both pay for their connection.
"""

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.contenders.stateful import SeenCodec
from bench.contenders.watch import prepare
from bench.rig import BenchError
from bench.task import Outcome, Task, read_task, tell
from faust_batch.changelog import FETCH_BYTES, Changelog
from faust_batch.producer import BatchProducer
from faust_batch.table import BatchTable


async def table(task: Task) -> int:
    """Restore a table; how many rows it has."""
    log = Changelog(task.bootstrap, BatchProducer(task.bootstrap, task.group), task.changelog)
    restored = BatchTable("senders", log, SeenCodec())
    restored.assign(task.ends)
    for partition in task.ends:
        await restored.rows(partition)
    KEPT.append(restored)
    return len(restored)


async def bare(task: Task) -> int:
    """Read every record; how many there were."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    consumer.assign([TopicPartition(task.changelog, number) for number in task.ends])
    count = 0
    while count < task.events:
        count += sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))
    await consumer.stop()
    return count


#: What must still be there when our memory is looked at.
KEPT: list[object] = []


async def main(task: Task, how: str) -> None:
    """Do it, say so, and wait to be ended."""
    began = time.monotonic()
    count = await {"table": table, "bare": bare}[how](task)
    ended = time.monotonic()
    if count != task.events:
        raise BenchError(f"{count} rows, not {task.events}")
    tell(Outcome(events=count, began=began, half=began, ended=ended))
    await asyncio.Event().wait()


if __name__ == "__main__":
    prepare()
    asyncio.run(main(read_task(), sys.argv[1]))
