"""The gateway's producer on the real Kafka: acknowledged means kept, a dead broker means a quick no and no late yes."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from devconnect.adapters.kafka.gateway import KafkaCommands
from devconnect.adapters.kafka.topics import TopicsError
from devconnect.events.base import new_id
from devconnect.events.topics import MESSAGE_COMMANDS, USER_COMMANDS
from devconnect.ports.truth import UnavailableError
from tests.contract.kafka_fixtures import PARTITIONS, Broker


@asynccontextmanager
async def producing(broker: Broker) -> AsyncIterator[KafkaCommands]:
    commands = KafkaCommands(broker.address, partitions=PARTITIONS)
    await commands.start()
    try:
        yield commands
    finally:
        await commands.stop()


async def values(broker: Broker, topic: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
    """Everything in the partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        found: list[tuple[bytes | None, bytes | None]] = []
        while await consumer.position(place) < end:
            batch = await consumer.getmany(timeout_ms=200)
            found.extend((record.key, record.value) for records in batch.values() for record in records)
        return found
    finally:
        await consumer.stop()


async def until_ready(commands: KafkaCommands, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while (why := await commands.ready()) is not None:
        assert time.monotonic() < deadline, why
        await asyncio.sleep(0.1)


async def test_an_acknowledged_command_is_on_the_partition_of_its_key_once(broker: Broker) -> None:
    async with producing(broker) as commands:
        assert await commands.ready() is None
        keys = [new_id() for _ in range(20)]
        await asyncio.gather(*(commands.send(USER_COMMANDS.name, key, b"{}" + key.encode()) for key in keys))
        for key in keys:
            found = await values(broker, USER_COMMANDS.name, commands.partition_of(key))
            assert found.count((key.encode(), b"{}" + key.encode())) == 1


async def test_commands_of_one_key_stay_in_order(broker: Broker) -> None:
    async with producing(broker) as commands:
        key = new_id()
        for number in range(50):
            await commands.send(MESSAGE_COMMANDS.name, key, str(number).encode())
        found = await values(broker, MESSAGE_COMMANDS.name, commands.partition_of(key))
        assert [value for own, value in found if own == key.encode()] == [str(n).encode() for n in range(50)]


def test_the_partition_is_that_of_every_kafka_client() -> None:
    commands = KafkaCommands("localhost:1", partitions=8)
    for key in ("ada@example.com", "名前@example.com", *(new_id() for _ in range(200))):
        assert commands.partition_of(key) == DefaultPartitioner()(key.encode(), list(range(8)), list(range(8)))


async def test_another_number_of_partitions_is_refused_with_what_to_do(broker: Broker) -> None:
    commands = KafkaCommands(broker.address, partitions=PARTITIONS + 1)
    with pytest.raises(TopicsError, match=f"PARTITIONS={PARTITIONS}"):
        await commands.start()
    await commands.stop()


async def test_a_paused_broker_means_no_within_about_a_second(broker: Broker) -> None:
    async with producing(broker) as commands:
        broker.signal(signal.SIGSTOP)
        try:
            for _ in range(3):
                began = time.monotonic()
                with pytest.raises(UnavailableError):
                    await commands.send(USER_COMMANDS.name, new_id(), b"{}")
                assert time.monotonic() - began < 1.5
            assert await commands.ready() is not None
        finally:
            broker.signal(signal.SIGCONT)
        await until_ready(commands)
        await commands.send(USER_COMMANDS.name, new_id(), b"{}")


async def test_a_dead_broker_means_a_quick_no_and_what_was_refused_never_comes_later(broker: Broker) -> None:
    async with producing(broker) as commands:
        broker.signal(signal.SIGKILL)
        refused = [new_id() for _ in range(30)]
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(commands.send(USER_COMMANDS.name, key, b"{}") for key in refused), return_exceptions=True
        )
        assert all(isinstance(outcome, UnavailableError) for outcome in outcomes)
        assert time.monotonic() - began < 1.5
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            await commands.send(USER_COMMANDS.name, refused[0], b"{}")
        assert time.monotonic() - began < 0.5
        await asyncio.to_thread(broker.start)
        await until_ready(commands)
        kept = new_id()
        await commands.send(USER_COMMANDS.name, kept, b"{}")
        keys = {key for number in range(PARTITIONS) for key, _ in await values(broker, USER_COMMANDS.name, number)}
        assert kept.encode() in keys
        assert not keys & {key.encode() for key in refused}


async def test_a_gateway_that_starts_before_kafka_connects_when_it_comes(broker: Broker) -> None:
    broker.signal(signal.SIGKILL)
    began = time.monotonic()
    async with producing(broker) as commands:
        assert time.monotonic() - began < 4
        assert "not reachable" in str(await commands.ready())
        with pytest.raises(UnavailableError):
            await commands.send(USER_COMMANDS.name, new_id(), b"{}")
        await asyncio.to_thread(broker.start)
        await until_ready(commands)
        await commands.send(USER_COMMANDS.name, new_id(), b"{}")


async def test_closing_with_a_dead_broker_takes_a_moment_only(broker: Broker) -> None:
    async with producing(broker) as commands:
        broker.signal(signal.SIGKILL)
        waiting = asyncio.gather(
            *(commands.send(USER_COMMANDS.name, new_id(), b"{}") for _ in range(5)), return_exceptions=True
        )
        await asyncio.sleep(0)
        began = time.monotonic()
        await commands.stop()
        assert time.monotonic() - began < 4
        await waiting
    await asyncio.to_thread(broker.start)
