"""Closed windows are published by one worker at a time, all of a transaction or nothing, on the real broker."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError

from devconnect.domain.windows import Publication
from devconnect.events.facts import WindowClosed
from devconnect.events.parts import Closed, Part, Published
from devconnect.events.topics import (
    ANALYTICS_EVENTS,
    ANALYTICS_PARTS,
    USER_COMMANDS,
    analytics_events,
    analytics_parts,
)
from devconnect.ports.truth import UnavailableError
from faust_batch.changelog import read_to_end
from tests.contract.kafka_fixtures import PARTITIONS, Broker, broker
from workers import windows as adapter
from workers.windows import KafkaProgress, KafkaWindowLog

__all__ = ["broker"]

MINUTE = 60_000


def part(window: int, seq: int = 1, partition: int = 0) -> Part:
    return Part(
        table="messages_per_minute",
        window=window,
        topic="message-events",
        partition=partition,
        at=1,
        values=(seq,),
        seq=seq,
    )


def publication(window: int, *erased: str) -> Publication:
    event = WindowClosed(table="messages_per_minute", window=window, size=MINUTE, at=1, values={"count": 1})
    return Publication([event], [Published(table="messages_per_minute", until=window + MINUTE)], erased)


async def give(address: str, *parts: Part | Closed) -> None:
    """What closing writes."""
    async with AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True) as producer:
        for each in parts:
            await producer.send_and_wait(
                ANALYTICS_PARTS.name, analytics_parts.encode(each), key=each.key.encode(), partition=0
            )


async def shows(address: str, windows: list[int]) -> None:
    """Wait until the windows that are published are these: the broker marks the end of a transaction a moment later."""
    async with asyncio.timeout(10):
        while (found := await published(address)) != windows:
            assert len(found) <= len(windows), found
    assert await published(address) == windows


async def published(address: str) -> list[int]:
    """The windows that a read_committed reader finds, each as often as it is there."""
    found: list[int] = []
    places = dict.fromkeys(range(PARTITIONS), 0)
    async for chunk in read_to_end(address, ANALYTICS_EVENTS.name, places, committed=True):
        found += [analytics_events.decode(record.value).window for record in chunk.records]
    return sorted(found)


@pytest.fixture
async def logs(broker: Broker) -> AsyncIterator[Sequence[KafkaWindowLog]]:
    found = [KafkaWindowLog(broker.address) for _ in range(3)]
    yield found
    for log in found:
        await log.close()


async def test_what_is_published_is_there_once_and_its_parts_are_gone(
    broker: Broker, logs: Sequence[KafkaWindowLog]
) -> None:
    one, other = part(10 * MINUTE), part(11 * MINUTE)
    closed = Closed(table=one.table, topic=one.topic, partition=0, until=12 * MINUTE)
    await give(broker.address, one, other, closed)
    assert sorted(await logs[0].open(), key=str) == sorted([one, other, closed], key=str)
    await logs[0].publish(publication(10 * MINUTE, one.key))
    await shows(broker.address, [10 * MINUTE])
    expected = [other, closed, Published(table=one.table, until=11 * MINUTE)]
    assert sorted(await logs[1].open(), key=str) == sorted(expected, key=str)


async def test_who_was_overtaken_publishes_nothing(broker: Broker, logs: Sequence[KafkaWindowLog]) -> None:
    before = await published(broker.address)
    await logs[0].open()
    await logs[1].open()
    with pytest.raises(UnavailableError):
        await logs[0].publish(publication(20 * MINUTE))
    await logs[1].publish(publication(21 * MINUTE))
    await shows(broker.address, [*before, 21 * MINUTE])
    with pytest.raises(UnavailableError, match="open"):
        await logs[0].publish(publication(22 * MINUTE))
    await logs[0].open()
    await logs[0].publish(publication(23 * MINUTE))
    await shows(broker.address, [*before, 21 * MINUTE, 23 * MINUTE])


async def test_who_learns_in_the_middle_that_it_was_overtaken_publishes_nothing(
    broker: Broker, logs: Sequence[KafkaWindowLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await published(broker.address)
    send = adapter._send

    async def learn_first(producer: AIOKafkaProducer, found: Publication) -> None:
        with pytest.raises((KafkaError, IllegalOperation)):
            await send(producer, found)
        await send(producer, found)

    await logs[0].open()
    await logs[1].open()
    monkeypatch.setattr(adapter, "_send", learn_first)
    with pytest.raises(UnavailableError):
        await logs[0].publish(publication(25 * MINUTE))
    monkeypatch.undo()
    await logs[1].publish(publication(26 * MINUTE))
    await shows(broker.address, [*before, 26 * MINUTE])


async def test_a_crash_in_the_middle_of_publishing_leaves_nothing_to_read(
    broker: Broker, logs: Sequence[KafkaWindowLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await published(broker.address)
    kept = part(30 * MINUTE)
    await give(broker.address, kept)
    await logs[0].open()
    send = adapter._send

    async def die(producer: AIOKafkaProducer, found: Publication) -> None:
        await send(producer, found)
        raise asyncio.CancelledError

    monkeypatch.setattr(adapter, "_send", die)
    with pytest.raises(asyncio.CancelledError):
        await logs[0].publish(publication(30 * MINUTE, kept.key))
    monkeypatch.undo()
    assert kept in await logs[1].open()
    await shows(broker.address, before)
    await logs[1].publish(publication(30 * MINUTE, kept.key))
    await shows(broker.address, [*before, 30 * MINUTE])


async def test_progress_tells_where_topics_end_and_groups_are(broker: Broker) -> None:
    topic, group = USER_COMMANDS.name, "windows-test"
    progress = KafkaProgress(broker.address)
    try:
        start = await progress.ends(topic, range(PARTITIONS))
        assert await progress.committed(group, topic, range(PARTITIONS)) == dict.fromkeys(range(PARTITIONS), 0)
        async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            for _ in range(3):
                await producer.send_and_wait(topic, b"-", partition=1)
        assert await progress.ends(topic, [1, 2]) == {1: start[1] + 3, 2: start[2]}
        async with AIOKafkaConsumer(topic, bootstrap_servers=broker.address, group_id=group) as consumer:
            await consumer.commit({TopicPartition(topic, 1): 2})
        assert await progress.committed(group, topic, [1, 2]) == {1: 2, 2: 0}
    finally:
        await progress.close()


async def test_progress_that_can_not_be_learned_is_said_so() -> None:
    progress = KafkaProgress("127.0.0.1:1")
    with pytest.raises(UnavailableError):
        await progress.ends(USER_COMMANDS.name, [0])
    with pytest.raises(UnavailableError):
        await progress.committed("-", USER_COMMANDS.name, [0])
