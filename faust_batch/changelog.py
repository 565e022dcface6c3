"""A table's changelog: a compacted topic, written in batches and read back in batches."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from faust_batch.batch import Record
from faust_batch.fetching import hand_out_parsed
from faust_batch.producer import BatchProducer

NO_HEADERS: list[tuple[str, bytes]] = []
#: Bytes a fetch of one partition brings at most.
FETCH_BYTES = 4 * 1024 * 1024


class Chunk(NamedTuple):
    """Records of one partition, read back; `next_offset` is where reading goes on, `end` where it will end."""

    partition: int
    records: Sequence[Record]
    next_offset: int
    end: int


class Changelog:
    """One table's changelog topic."""

    def __init__(self, bootstrap: str, producer: BatchProducer, topic: str) -> None:
        self.topic = topic
        self._bootstrap = bootstrap
        self._producer = producer

    async def append(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> int:
        """Write key and value pairs (None deletes); returns the offset of the last once all are acknowledged."""
        return await self._producer.append(self.topic, partition, [(key, value, NO_HEADERS) for key, value in items])

    def read(self, positions: Mapping[int, int]) -> AsyncIterator[Chunk]:
        """Read each partition from its position to where its log ends now."""
        return read_to_end(self._bootstrap, self.topic, positions)


async def read_to_end(
    bootstrap: str, topic: str, positions: Mapping[int, int], *, committed: bool = False
) -> AsyncIterator[Chunk]:
    """Yield the records of the partitions from the given offsets to the end that each has at the start of the call.

    With `committed`, that end is where the first open transaction begins, and what was aborted is left out. Belongs to
    no consumer group and commits nothing. Raises KafkaError when the broker can't be reached.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
        isolation_level="read_committed" if committed else "read_uncommitted",
    )
    try:
        await consumer.start()
        hand_out_parsed(consumer)
        tps = {TopicPartition(topic, partition): offset for partition, offset in positions.items()}
        consumer.assign(list(tps))
        ends = await consumer.end_offsets(list(tps))
        pending = {tp for tp, offset in tps.items() if ends[tp] > offset}
        consumer.pause(*(tp for tp in tps if tp not in pending))
        for tp, offset in tps.items():
            consumer.seek(tp, offset)
        while pending:
            found = await consumer.getmany(*pending, timeout_ms=1000)
            for tp in list(pending):
                position = await consumer.position(tp)
                records = found.get(tp, [])
                if records:
                    yield Chunk(tp.partition, records, position, ends[tp])
                if position >= ends[tp]:
                    pending.discard(tp)
                    consumer.pause(tp)
    finally:
        await consumer.stop()
