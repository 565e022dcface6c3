"""Ends of sessions on the real Kafka: what was written lately is known soon after a start, and all that follows too."""

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from devconnect.adapters.kafka.session_ends import KEPT_MS, SessionEnds
from devconnect.events.base import new_id
from devconnect.events.facts import SessionEnded
from devconnect.events.topics import SESSION_ENDS, session_ends
from tests.contract.kafka_fixtures import PARTITIONS, Broker
from tests.fakes import ManualClock
from tests.waiting import until


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def write(broker: Broker, sessions: Sequence[str], *, at: int | None = None, junk: bool = False) -> None:
    """What command agents write, some of it on each partition."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, acks="all")
    await producer.start()
    try:
        for number, session in enumerate(sessions):
            end = session_ends.encode(SessionEnded(session=session, user="ann", at=1))
            value = b"junk" if junk else end
            place = {"partition": number % PARTITIONS, "timestamp_ms": at}
            await producer.send_and_wait(SESSION_ENDS.name, value, key=session.encode(), **place)
    finally:
        await producer.stop()


@asynccontextmanager
async def following(broker: Broker, **options: object) -> AsyncIterator[SessionEnds]:
    ends = SessionEnds(broker.address, partitions=PARTITIONS, **options)
    await ends.start()
    try:
        yield ends
    finally:
        await ends.stop()


async def test_what_was_ended_lately_is_known_after_a_start_and_what_follows_too(broker: Broker) -> None:
    before, after, old = [new_id() for _ in range(9)], [new_id() for _ in range(9)], new_id()
    await write(broker, [old], at=now_ms() - KEPT_MS - 60_000)
    await write(broker, before)
    told: list[tuple[str, str]] = []
    async with following(broker) as ends:
        ends.tell(lambda *end: told.append(end))
        assert ends.current()
        assert all(map(ends.ended, before))
        assert not any(map(ends.ended, [old, *after]))
        await write(broker, [*after, *before])
        await until(lambda: all(map(ends.ended, after)))
        assert sorted(told) == sorted((session, "ann") for session in after)


async def test_what_is_no_end_of_a_session_is_passed_over(broker: Broker) -> None:
    session = new_id()
    async with following(broker) as ends:
        await write(broker, [new_id()] * PARTITIONS, junk=True)
        await write(broker, [session] * PARTITIONS)
        await until(lambda: ends.ended(session))


async def test_ends_are_forgotten_when_no_token_can_be_good_any_more(broker: Broker) -> None:
    session, clock = new_id(), ManualClock(now_ms())
    async with following(broker, clock=clock) as ends:
        await write(broker, [session])
        await until(lambda: ends.ended(session))
        clock.now += KEPT_MS + 60_000
        await until(lambda: not ends.ended(session))


async def test_a_broker_that_dies_leaves_what_is_known_and_is_followed_again(broker: Broker) -> None:
    first, second = new_id(), new_id()
    async with following(broker) as ends:
        await write(broker, [first])
        await until(lambda: ends.ended(first) and ends.current())
        broker.signal(signal.SIGKILL)
        await until(lambda: not ends.current())
        assert ends.ended(first)
        await asyncio.to_thread(broker.start)
        await write(broker, [second])
        await until(lambda: ends.ended(second) and ends.current(), seconds=60)
        assert ends.ended(first)


async def test_a_gateway_that_starts_before_kafka_waits_for_it_in_the_background(broker: Broker) -> None:
    session = new_id()
    await write(broker, [session])
    broker.signal(signal.SIGKILL)
    began = time.monotonic()
    async with following(broker) as ends:
        assert time.monotonic() - began < 1
        assert not ends.current()
        assert ends.age() == math.inf
        await asyncio.to_thread(broker.start)
        await until(lambda: ends.ended(session) and ends.current(), seconds=60)
