"""Kafka as the tests look at it: raw records in, whatever is there out."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from devconnect import stack
from tests.e2e.system import System

#: Seconds that anything here may take.
PATIENCE = 60.0


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Letter(NamedTuple):
    """A dead letter: which agent buried what, from where, why."""

    place: Place
    agent: str
    cause: str
    key: bytes | None
    value: bytes | None


def produce(system: System, topic: str, key: str, values: Iterable[bytes]) -> list[Place]:
    """Appends raw records to the partition that `key` falls in, as any Kafka client does; acknowledged."""

    async def work() -> list[Place]:
        producer = AIOKafkaProducer(bootstrap_servers=_bootstrap(system), acks="all")
        await producer.start()
        try:
            sent = [await producer.send_and_wait(topic, value, key.encode()) for value in values]
        finally:
            await producer.stop()
        return [Place(topic, each.partition, each.offset) for each in sent]

    return _run(work())


def ends(system: System, topics: Sequence[str]) -> dict[Place, int]:
    """The end of each partition: what was produced since is behind it."""

    async def work() -> dict[Place, int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=_bootstrap(system))
        await consumer.start()
        try:
            found = await consumer.end_offsets(_partitions(system, topics))
        finally:
            await consumer.stop()
        return {Place(each.topic, each.partition, 0): end for each, end in found.items()}

    return _run(work())


def letters(system: System) -> list[Letter]:
    """Every dead letter there is."""
    return [_letter(record) for record in records(system, "dead-letters") if not _is_mark(record)]


def records(system: System, topic: str, *, committed: bool = False) -> list[Any]:
    """Every record of a topic, those of a partition in order; `committed` leaves out what a transaction has undone."""

    async def work() -> list[Any]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=_bootstrap(system),
            enable_auto_commit=False,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            isolation_level="read_committed" if committed else "read_uncommitted",
        )
        await consumer.start()
        try:
            partitions = _partitions(system, [topic])
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            last = await consumer.end_offsets(partitions)
            found: list[Any] = []
            for partition, end in last.items():
                while await consumer.position(partition) < end:
                    batch = await consumer.getmany(partition, timeout_ms=1000)
                    found += [record for records in batch.values() for record in records]
        finally:
            await consumer.stop()
        return found

    return _run(work())


def _is_mark(record: Any) -> bool:
    return any(name == "mark" for name, _ in record.headers)


def _letter(record: Any) -> Letter:
    said = {name: value.decode() for name, value in record.headers}
    place = Place(said["topic"], int(said["partition"]), int(said["offset"]))
    return Letter(place, said["agent"], said["cause"], record.key, record.value)


def _bootstrap(system: System) -> str:
    return stack.addresses(system.settings).kafka


def _partitions(system: System, topics: Sequence[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in topics for number in range(system.settings.partitions)]


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, PATIENCE))
