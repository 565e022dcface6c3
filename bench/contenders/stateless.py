"""Ours with no state: each record of a batch is decoded, and that is all."""

from collections.abc import Sequence

from bench.contenders.watch import Runner, Watch, prepare
from bench.task import read_task
from devconnect.events.topics import message_events
from faust_batch.app import create_app
from faust_batch.batch import Batch


async def handle(batches: Sequence[Batch]) -> None:
    """Decode every record."""
    decode = message_events.decode
    for batch in batches:
        for record in batch.records:
            decode(record.value)


if __name__ == "__main__":
    prepare()
    task = read_task()
    app = create_app(task.group, task.bootstrap, task.folder)
    Watch(task, app).add(app, task.topic, handle)
    Runner(app).execute_from_commandline()
