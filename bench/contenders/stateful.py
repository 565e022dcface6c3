"""Ours with state: for each sender a count and the time of the last event, in a table with its changelog.

The row has a clock too, as the project's own tables have: what is read twice counts once. The peers' states lack that.
"""

import asyncio
from collections.abc import Mapping, Sequence
from struct import Struct

import faust
from faust.types import TP

from bench.contenders.watch import Runner, Watch, prepare
from bench.task import Task, read_task
from devconnect.events.facts import MessageSent
from devconnect.events.topics import message_events
from faust_batch.app import create_app
from faust_batch.batch import Batch
from faust_batch.changelog import Changelog
from faust_batch.producer import BatchProducer
from faust_batch.table import BatchTable

#: What is kept of a sender: how many events, the time of the last, and its seq.
Seen = list[int]
_ROW = Struct("<QQQ")


class SeenCodec:
    """A row as three 64-bit numbers."""

    def encode(self, row: Seen) -> bytes:
        """The row as bytes."""
        return _ROW.pack(*row)

    def decode(self, data: bytes) -> Seen:
        """The row in these bytes."""
        return list(_ROW.unpack(data))

    def order(self, data: bytes) -> int:
        """Its seq."""
        return int(_ROW.unpack(data)[2])


class Senders:
    """The handler, and the table that it keeps."""

    def __init__(self, task: Task) -> None:
        self.producer = BatchProducer(task.bootstrap, task.group)
        self.table = BatchTable("senders", Changelog(task.bootstrap, self.producer, task.changelog), SeenCodec())

    async def handle(self, batches: Sequence[Batch]) -> None:
        """Count the events of each partition, and write each touched row once."""
        by_partition: dict[int, list[Batch]] = {}
        for batch in batches:
            by_partition.setdefault(batch.partition, []).append(batch)
        await asyncio.gather(*(self._fold(number, found) for number, found in by_partition.items()))

    async def _fold(self, partition: int, batches: Sequence[Batch]) -> None:
        rows = await self.table.rows(partition)
        changed: dict[str, Seen] = {}
        decode = message_events.decode
        for batch in batches:
            for record in batch.records:
                event = decode(record.value)
                if isinstance(event, MessageSent):
                    count(event, changed, rows)
        if changed:
            await self.table.write(partition, changed)

    async def assigned(self, _app: faust.App, assigned: set[TP], **_: object) -> None:
        """The table follows the partitions."""
        self.table.assign({tp.partition for tp in assigned})


def count(event: MessageSent, changed: dict[str, Seen], rows: Mapping[str, Seen]) -> None:
    """Count the event, unless its sender's row knows of it."""
    row = changed.get(event.sender)
    if row is None:
        row = rows.get(event.sender)
        if row is None:
            changed[event.sender] = [1, event.at, event.seq]
            return
        if event.seq <= row[2]:
            return
        changed[event.sender] = row
    row[0] += 1
    row[1] = event.at
    row[2] = event.seq


def main() -> None:
    """Run until we are told to stop."""
    prepare()
    task = read_task()
    app = create_app(task.group, task.bootstrap, task.folder)
    watch, senders = Watch(task, app), Senders(task)
    app.on_partitions_assigned.connect(senders.assigned, weak=False)
    watch.add(app, task.topic, senders.handle)
    start = [senders.producer.start, *([watch.wait_for_word] if task.gated else [])]
    Runner(app, start, [senders.table.stop, senders.producer.stop]).execute_from_commandline()


if __name__ == "__main__":
    main()
