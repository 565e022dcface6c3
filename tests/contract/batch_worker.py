"""A worker on the batch transport for the tests, in a process of its own: copies what it gets to another topic.

Arguments: bootstrap, group, source topic, target topic, data folder. The environment's SLOW is how many seconds each
call takes, POISON a value that makes it fail, INSTANCE the name of a static member, MORE
another source topic, LIMIT how many seconds it may stand still, STUCK a source that is never done with, ROOM how many
records may wait. Prints what it is assigned, and its troubles. At
SIGHUP it is deaf: nothing is fetched any more.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

import faust
from faust.types import TP

from faust_batch import gather
from faust_batch.app import agent, create_app
from faust_batch.batch import Batch
from faust_batch.liveness import Lookout
from faust_batch.producer import BatchProducer

logging.basicConfig(level="WARNING")
bootstrap, group, source, target, datadir = sys.argv[1:]
slow = float(os.environ.get("SLOW", "0"))
limit = float(os.environ.get("LIMIT", "60"))
gather.MAX_WAITING = int(os.environ.get("ROOM", gather.MAX_WAITING))
poison = os.environ.get("POISON", "").encode()
app = create_app(group, bootstrap, datadir, instance=os.environ.get("INSTANCE"))
producer = BatchProducer(bootstrap, group)


async def copy(batches: Sequence[Batch]) -> None:
    """Append every record to the target, on its own partition, with its offset as the key."""
    await asyncio.sleep(slow)
    if batches[0].topic == os.environ.get("STUCK"):
        await asyncio.Event().wait()
    for batch in batches:
        if poison and any(record.value == poison for record in batch.records):
            raise ValueError("poisoned")
        items = [(str(record.offset).encode(), record.value, []) for record in batch.records]
        await producer.append(target, batch.partition, items)


def say(*words: object) -> None:
    """A line, in one write: several workers write to one log, and Python may be told to write unbuffered."""
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


lookout = Lookout(app, bootstrap)


async def tell_of_troubles() -> None:
    """A line at each look: of a word, the pid, and the trouble or "none"; and of the lag and the oldest record."""
    while True:
        await asyncio.sleep(0.5)
        if lookout.blind is None:
            say("trouble", os.getpid(), lookout.trouble(limit) or "none")
            say("left", os.getpid(), sum(lookout.lags().values()), lookout.oldest())
        else:
            say("blind", os.getpid(), lookout.trouble(limit) or "none")


def be_deaf() -> None:
    """End the task that fetches, as an error of aiokafka's would, without a word."""
    thread = app.consumer._thread
    thread.thread_loop.call_soon_threadsafe(thread._consumer._fetcher._fetch_task.cancel)


class Worker(faust.Worker):
    """Starts the producer before the app, and stops it after."""

    def __init__(self) -> None:
        super().__init__(app, quiet=True, redirect_stdouts=False, override_logging=False)
        self.spinner = None  # it writes terminal codes into the log

    async def on_first_start(self) -> None:
        await producer.start()
        self.tasks = [asyncio.create_task(lookout.run()), asyncio.create_task(tell_of_troubles())]
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, be_deaf)
        await super().on_first_start()

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        for task in self.tasks:
            task.cancel()
        await producer.stop()


@app.on_partitions_assigned.connect
async def tell(_: faust.App, assigned: set[TP], **__: object) -> None:
    """A line of a word, the pid, the generation and the partitions."""
    partitions = ",".join(sorted(f"{tp.topic}:{tp.partition}" for tp in assigned))
    say("assigned", os.getpid(), app.consumer_generation_id, partitions)


for topic in filter(None, (source, os.environ.get("MORE"))):
    agent(app, topic, copy)
Worker().execute_from_commandline()
