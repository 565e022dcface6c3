"""How far the read models are, as the projections say it and as readers wait for it; alone, on a cluster, on a wire."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from devconnect.adapters.redis import freshness, keys
from devconnect.adapters.redis.calls import Client, run
from devconnect.adapters.redis.connect import close, connect, connect_fast
from devconnect.adapters.redis.freshness import RedisFreshness
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.ports.projections import Mark
from tests.contract.redis_fixtures import NOW, Server, client, own_server, servers
from tests.contract.test_redis_outage import timed
from tests.waiting import until

__all__ = ["client", "own_server", "servers"]

TOPICS = ("user-events", "message-events")


@pytest.fixture
async def given(client: Client) -> AsyncIterator[RedisFreshness]:
    """What readers see of an empty Redis whose read models are complete, two partitions a topic."""
    await RedisProjections(client).declare_complete()
    found = RedisFreshness(client, TOPICS, 2)
    yield found
    await found.stop()


async def mark(client: Client, partition: int, seq: int, at: int = NOW, topic: str = "user-events") -> None:
    await RedisProjections(client).applied(topic, {partition: Mark(seq, at)})


async def test_marks_move_forward_only(client: Client, given: RedisFreshness) -> None:
    assert await given.applied("user-events", 0) == 0
    await RedisProjections(client).applied("user-events", {0: Mark(512, NOW), 1: Mark(256, NOW + 5)})
    await mark(client, 0, 256, NOW + 9)
    await mark(client, 0, 300, NOW + 1)
    assert [await given.applied("user-events", partition) for partition in (0, 1)] == [512, 256]
    assert await given.applied("message-events", 0) == 0
    stored = await client.hgetall(keys.applied("user-events"))
    assert stored == {"0": "512", "at:0": str(NOW + 9), "1": "256", "at:1": str(NOW + 5)}
    large = 2**53 - 1
    await mark(client, 0, large)
    assert await given.applied("user-events", 0) == large


async def test_who_waits_is_told_once_it_is_applied(client: Client, given: RedisFreshness) -> None:
    await mark(client, 0, 512)
    assert await given.wait("user-events", 0, 512, 5.0)
    assert await given.wait("user-events", 0, 256, 0.0)
    waiting = asyncio.create_task(given.wait("user-events", 0, 513, 30.0))
    other = asyncio.create_task(given.wait("user-events", 0, 2048, 0.3))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await mark(client, 1, 4096)
    await mark(client, 0, 768)
    assert await waiting
    assert not await other


async def test_nobody_waits_longer_than_was_asked_for(given: RedisFreshness) -> None:
    outcome, seconds = await timed(given.wait("user-events", 0, 512, 0.05))
    assert outcome is False
    assert seconds < 5.0
    assert await given.wait("user-events", 0, 512, 0.0) is False
    await until(lambda: not given._waiting)


async def test_many_who_wait_for_a_partition_look_as_one(client: Client, given: RedisFreshness) -> None:
    looks = 0
    look = given._look

    async def counted(place: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(place)

    given._look = counted
    waiting = [asyncio.create_task(given.wait("user-events", 0, 512 + n, 30.0)) for n in range(200)]
    cancelled = [asyncio.create_task(given.wait("user-events", 0, 9999, 30.0)) for _ in range(20)]
    await asyncio.sleep(0.1)
    for task in cancelled:
        task.cancel()
    await mark(client, 0, 612)
    await asyncio.wait(waiting[:101])
    assert not any(task.done() for task in waiting[101:])
    await mark(client, 0, 2048)
    assert all(await asyncio.gather(*waiting))
    assert looks < 200
    await until(lambda: not given._waiting)


async def test_where_the_read_models_are_not_complete_there_is_nothing_to_wait_for(
    client: Client, given: RedisFreshness
) -> None:
    await mark(client, 0, 512)
    assert await given.wait("user-events", 0, 512, 1.0)
    await client.flushall()
    await mark(client, 0, 768)
    assert await given.applied("user-events", 0) is None
    outcome, seconds = await timed(given.wait("user-events", 0, 768, 30.0))
    assert outcome is False
    assert seconds < 5.0
    await RedisProjections(client).declare_complete()
    assert await given.wait("user-events", 0, 768, 1.0)


async def test_a_redis_that_hangs_or_is_gone_keeps_nobody_waiting(own_server: Server) -> None:
    client = connect_fast(own_server.url)
    await RedisProjections(client).declare_complete()
    given = RedisFreshness(client, TOPICS, 2)
    await mark(client, 0, 512)
    await mark(client, 1, 512)
    await given.start()
    waiting = asyncio.create_task(timed(given.wait("user-events", 0, 768, 30.0)))
    await asyncio.sleep(0.02)
    own_server.signal(signal.SIGSTOP)
    for outcome, seconds in (await waiting, await timed(given.wait("user-events", 0, 768, 30.0))):
        assert outcome is False
        assert seconds < 5.0
    assert await given.applied("user-events", 0) is None
    assert given.as_of(topic="user-events") == NOW
    await given.stop()
    await close(client)


async def test_reads_are_as_of_what_is_applied_everywhere(client: Client, given: RedisFreshness) -> None:
    await mark(client, 0, 1, NOW + 4)
    await mark(client, 1, 1, NOW + 2)
    await mark(client, 0, 1, NOW + 9, "message-events")
    assert given.as_of() == given.as_of(0) == given.as_of(topic="user-events") == 0, "nothing was looked at yet"
    await given.refresh()
    assert given.as_of(0) == NOW + 4
    assert given.as_of(1) == 0, "of a topic of this partition nothing is known"
    assert given.as_of(topic="user-events") == NOW + 2
    assert given.as_of(0, "message-events") == NOW + 9
    assert given.as_of() == 0
    await mark(client, 1, 1, NOW + 1, "message-events")
    await given.refresh()
    assert given.as_of() == NOW + 1


async def test_it_is_looked_at_now_and_then(
    client: Client, given: RedisFreshness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "REFRESH", 0.01)
    await given.start()
    for topic in TOPICS:
        for partition in (0, 1):
            await mark(client, partition, 1, NOW + 7, topic)
    await until(lambda: given.as_of() == NOW + 7)
    await client.flushall()
    await asyncio.sleep(0.05)
    assert given.as_of() == NOW + 7, "what was read before is no older for that"


async def test_it_works_over_the_gateways_own_connection(servers: dict[str, Server]) -> None:
    wire, writer = connect_fast(servers["alone"].url), connect(servers["alone"].url)
    await run(wire, [("FLUSHALL",)])
    await RedisProjections(writer).declare_complete()
    given = RedisFreshness(wire, TOPICS[:1], 1)
    await given.start()
    waiting = asyncio.create_task(given.wait("user-events", 0, 512, 30.0))
    await asyncio.sleep(0)
    await mark(writer, 0, 512)
    assert await waiting
    await given.stop()
    await close(wire)
    await close(writer)
