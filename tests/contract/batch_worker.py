"""A worker on the batch transport for the tests, in a process of its own: copies what it gets to another topic.

Arguments: bootstrap, group, source topic, target topic, data folder. The environment's SLOW is how many seconds each
call takes, POISON a value that makes it fail.
"""

import asyncio
import os
import sys
from collections.abc import Sequence

import faust

from faust_batch.app import agent, create_app
from faust_batch.batch import Batch
from faust_batch.producer import BatchProducer

bootstrap, group, source, target, datadir = sys.argv[1:]
slow = float(os.environ.get("SLOW", "0"))
poison = os.environ.get("POISON", "").encode()
app = create_app(group, bootstrap, datadir)
producer = BatchProducer(bootstrap, group)


async def copy(batches: Sequence[Batch]) -> None:
    """Append every record to the target, on its own partition, with its offset as the key."""
    await asyncio.sleep(slow)
    for batch in batches:
        if poison and any(record.value == poison for record in batch.records):
            raise ValueError("poisoned")
        items = [(str(record.offset).encode(), record.value, []) for record in batch.records]
        await producer.append(target, batch.partition, items)


class Worker(faust.Worker):
    """Starts the producer before the app, and stops it after."""

    async def on_first_start(self) -> None:
        await producer.start()
        await super().on_first_start()

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await producer.stop()


agent(app, source, copy)
Worker(app, quiet=True, redirect_stdouts=False, override_logging=False, loglevel="WARNING").execute_from_commandline()
