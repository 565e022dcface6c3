"""Ours with state: for each sender a count and the time of the last event, in a table with its changelog.

The row has a clock too, as the project's own tables have: what is read twice counts once. The peers' states lack that.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import faust
import msgspec
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


class Seen(NamedTuple):
    """What is kept of a sender."""

    events: int
    last_at: int
    seq: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Seen).decode


class SeenCodec:
    """A row as MessagePack: three whole numbers."""

    def encode(self, row: Seen) -> bytes:
        """The row as bytes."""
        return _encode(row)

    def decode(self, data: bytes) -> Seen:
        """The row in these bytes."""
        return _decode(data)

    def order(self, data: bytes) -> int:
        """The seq of the last event that it has counted."""
        return _decode(data).seq


def fold(rows: Mapping[str, Seen], events: Sequence[MessageSent]) -> dict[str, Seen]:
    """The rows that these events of one partition change: counted together where none of them is a repeat."""
    first = events[0].seq
    counts = Counter([event.sender for event in events])
    changed: dict[str, Seen] = {}
    for sender, last in {event.sender: event for event in events}.items():
        row = rows.get(sender)
        if row is None:
            changed[sender] = Seen(counts[sender], last.at, last.seq)
        elif row.seq < first:
            changed[sender] = Seen(row.events + counts[sender], last.at, last.seq)
        elif row.seq < last.seq:
            unseen = sum(1 for event in events if event.sender == sender and event.seq > row.seq)
            changed[sender] = Seen(row.events + unseen, last.at, last.seq)
    return changed


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
        found = message_events.decode_all([record.value for batch in batches for record in batch.records])
        events = [event for event in found if isinstance(event, MessageSent)]
        if events:
            await self.table.write(partition, fold(rows, events))

    async def assigned(self, _app: faust.App, assigned: set[TP], **_: object) -> None:
        """The table follows the partitions. Records may come before it is restored, but no clock runs by then."""
        self.table.assign({tp.partition for tp in assigned})

    async def restored(self) -> None:
        """Return when all that is assigned is restored."""
        for partition in self.table.partitions():
            await self.table.rows(partition)


def main() -> None:
    """Run until we are told to stop."""
    prepare()
    task = read_task()
    app = create_app(task.group, task.bootstrap, task.folder)
    watch, senders = Watch(task, app), Senders(task)
    app.on_partitions_assigned.connect(senders.assigned, weak=False)
    watch.add(app, task.topic, senders.handle, senders.restored)
    start = [senders.producer.start, *([watch.wait_for_word] if task.gated else [])]
    Runner(app, start, [senders.table.stop, senders.producer.stop]).execute_from_commandline()


if __name__ == "__main__":
    main()
