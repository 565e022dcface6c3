"""The publisher port on the batch producer."""

import asyncio
from collections.abc import Sequence

from aiokafka.partitioner import murmur2

from devconnect.events.topics import DEAD_LETTERS
from devconnect.ports.clock import Clock
from devconnect.ports.publisher import DeadLetter, Record
from faust_batch.producer import BatchProducer, Item
from workers.letters import letter_record


class BatchPublisher:
    """Publishes in Kafka batches. Every topic written here has the same number of partitions."""

    def __init__(self, producer: BatchProducer, partitions: int, clock: Clock) -> None:
        self._producer = producer
        self._partitions = partitions
        self._clock = clock

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """Append the records to the partition in order; returns the offset of the last."""
        return await self._producer.append(topic, partition, [_item(record) for record in records])

    async def spread(self, topic: str, records: Sequence[Record]) -> None:
        """Append each record to the partition that its key falls in, as every Kafka client would."""
        groups: dict[int, list[Record]] = {}
        for record in records:
            groups.setdefault(self._partition(record.key or b""), []).append(record)
        await asyncio.gather(*(self.publish(topic, partition, group) for partition, group in groups.items()))

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Append them to `dead-letters`, on the partition of their source."""
        now = self._clock.now_ms()
        groups: dict[int, list[Record]] = {}
        for letter in letters:
            groups.setdefault(letter.partition, []).append(letter_record(letter, now))
        for partition, group in groups.items():
            await self.publish(DEAD_LETTERS.name, partition, group)

    def _partition(self, key: bytes) -> int:
        return int((murmur2(key) & 0x7FFFFFFF) % self._partitions)


def _item(record: Record) -> Item:
    return record.key, record.value, list(record.headers)
