"""Channels: what is said after `subscribe` is heard, in order, once; loss and deafness are found out and mended."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis import Redis as SyncRedis

from devconnect.adapters.redis import channels as module
from devconnect.adapters.redis.calls import Client, run
from devconnect.adapters.redis.channels import Channels
from devconnect.adapters.redis.connect import close, connect, connect_channels
from tests.contract.redis_fixtures import Server, Wire as Proxy, own_server, servers
from tests.waiting import until

__all__ = ["own_server", "servers"]


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Channels]:
    channels = connect_channels(url)
    await channels.start()
    try:
        yield channels
    finally:
        await channels.stop()


@pytest.fixture(params=["alone", "cluster"])
async def house(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[tuple[Client, Channels]]:
    """Who says something, and who hears it."""
    url = servers[request.param].url
    speaker = connect(url, socket_timeout=5.0)
    async with listening(url) as channels:
        yield speaker, channels
    await close(speaker)


async def say(speaker: Client, channel: str, text: str) -> None:
    # In a script, as everything is published that must follow a change.
    await run(speaker, [("EVAL", "return redis.call('PUBLISH', ARGV[1], ARGV[2])", 1, channel, channel, text)])


async def test_what_is_said_once_subscribe_has_returned_is_heard_in_order(house: tuple[Client, Channels]) -> None:
    speaker, channels = house
    heard: list[tuple[str, bytes]] = []
    assert await channels.subscribe(["{ada}:a", "{bob}:é"], lambda *said: heard.append(said))
    for n in range(50):
        await say(speaker, "{ada}:a", f"Grüße {n}")
    await say(speaker, "{bob}:é", "\0\r\n")
    await say(speaker, "{eve}:a", "nobody hears this")
    await until(lambda: len(heard) >= 51)
    assert heard == [*(("{ada}:a", f"Grüße {n}".encode()) for n in range(50)), ("{bob}:é", b"\0\r\n")]


async def test_nothing_is_heard_of_a_channel_that_was_let_go_of(house: tuple[Client, Channels]) -> None:
    speaker, channels = house
    heard: list[tuple[str, bytes]] = []
    await channels.subscribe(["a", "b", "c"], lambda *said: heard.append(said))
    channels.unsubscribe(["a", "b", "unknown"])
    # Let go of and wanted again within a turn: it was never away; and the newest callback is the one.
    assert await channels.subscribe(["b"], lambda name, text: heard.append((f"new {name}", text)))
    for name in "abc":
        await say(speaker, name, "x")
    await until(lambda: len(heard) >= 2)
    assert heard == [("new b", b"x"), ("c", b"x")]
    assert len(channels) == 2


async def test_a_callback_that_fails_costs_nobody_else_anything(
    house: tuple[Client, Channels], caplog: pytest.LogCaptureFixture
) -> None:
    speaker, channels = house
    heard: list[bytes] = []

    def fail(name: str, text: bytes) -> None:
        raise RuntimeError("it fails")

    await channels.subscribe(["bad"], fail)
    await channels.subscribe(["good"], lambda name, text: heard.append(text))
    await say(speaker, "bad", "x")
    await say(speaker, "good", "y")
    await until(lambda: heard == [b"y"])
    assert channels.healthy
    assert "can't be used" in caplog.text


async def test_ten_thousand_channels_take_one_connection_and_few_commands(own_server: Server) -> None:
    speaker = connect(own_server.url)
    heard: set[str] = set()
    async with listening(own_server.url) as channels:
        with SyncRedis(port=own_server.port, decode_responses=True) as redis:
            before = len(redis.client_list())
            found = await asyncio.gather(
                *(channels.subscribe([f"c{n}"], lambda name, _: heard.add(name)) for n in range(10_000))
            )
            assert all(found)
            assert redis.info("commandstats")["cmdstat_subscribe"]["calls"] <= 1 + 10_000 / module.CHUNK
            assert len(redis.client_list()) == before
            assert redis.pubsub_numsub("c0", "c9999") == [("c0", 1), ("c9999", 1)]
            await run(speaker, [("PUBLISH", f"c{n}", "x") for n in range(10_000)])
            await until(lambda: len(heard) == 10_000)
            channels.unsubscribe([f"c{n}" for n in range(10_000)])
            await until(lambda: len(redis.pubsub_channels("c*")) == 0)
    await close(speaker)


async def test_a_server_that_dies_is_heard_again_with_all_channels_and_says_so(own_server: Server) -> None:
    speaker = connect(own_server.url)
    heard: list[bytes] = []
    async with listening(own_server.url) as channels:
        again: list[bool] = []
        channels.on_heard(lambda: again.append(channels.healthy))
        await channels.subscribe(["a", "gone"], lambda _, text: heard.append(text))
        own_server.kill()
        await until(lambda: not channels.healthy)
        # What is wanted, or not any more, while there is nobody to tell it to.
        assert not await channels.subscribe(["b"], lambda _, text: heard.append(text))
        channels.unsubscribe(["gone"])
        own_server.start()
        await until(lambda: channels.healthy)
        assert again == [True]
        await run(speaker, [("PUBLISH", name, f"to {name}") for name in ("gone", "a", "b")])
        await until(lambda: heard == [b"to a", b"to b"])
    await close(speaker)


async def test_on_heard_is_called_when_every_channel_is_subscribed_to(own_server: Server) -> None:
    """Whoever looks then what was missed misses nothing: what is said after the look is heard."""
    with SyncRedis(port=own_server.port, decode_responses=True) as redis:
        channels = connect_channels(own_server.url)
        found: list[object] = []
        channels.on_heard(lambda: found.append(redis.pubsub_numsub("early")))
        assert not await channels.subscribe(["early"], lambda *_: None)
        await channels.start()
        assert found == [[("early", 1)]]
        await channels.stop()
        await asyncio.sleep(0)
        assert not channels.healthy
        assert not await channels.subscribe(["late"], lambda *_: None)


async def test_a_connection_on_which_nothing_comes_any_more_is_found_out_and_made_again(own_server: Server) -> None:
    speaker = connect(own_server.url)
    heard: list[bytes] = []
    async with Proxy(own_server.url) as proxy, listening(proxy.url) as channels:
        await channels.subscribe(["a"], lambda _, text: heard.append(text))
        proxy.hold_answers()
        began = time.monotonic()
        await until(lambda: not channels.healthy)
        assert time.monotonic() - began < 20 * module.BEAT
        proxy.cut()
        proxy.let_go()
        await until(lambda: channels.healthy)
        await run(speaker, [("PUBLISH", "a", "x")])
        await until(lambda: heard == [b"x"])
    await close(speaker)


async def test_a_subscription_that_the_server_has_lost_by_itself_is_found_out(own_server: Server) -> None:
    """The connection answers, and nothing is said on it any more: the same as being deaf."""
    async with listening(own_server.url) as channels:
        await channels.subscribe(["a"], lambda *_: None)
        # Behind the back of the bookkeeping, as a fault of server or client would have it.
        assert channels._ear is not None
        await channels._ear.send([("UNSUBSCRIBE",)])
        with SyncRedis(port=own_server.port, decode_responses=True) as redis:
            assert redis.pubsub_numsub("a") == [("a", 0)]
            await until(lambda: redis.pubsub_numsub("a") == [("a", 1)])
        await until(lambda: channels.healthy)


async def test_a_quiet_connection_stays(own_server: Server) -> None:
    again: list[int] = []
    async with listening(own_server.url) as channels:
        channels.on_heard(lambda: again.append(1))
        await asyncio.sleep(4 * module.BEAT)
        assert channels.healthy
        assert again == []


async def test_a_server_that_hangs_holds_up_nobody_who_subscribes(own_server: Server) -> None:
    async with listening(own_server.url) as channels:
        own_server.signal(signal.SIGSTOP)
        began = time.monotonic()
        assert not await channels.subscribe(["a"], lambda *_: None)
        assert time.monotonic() - began < 20 * module.BEAT
        own_server.signal(signal.SIGCONT)
        await until(lambda: channels.healthy)
        assert await channels.subscribe(["b"], lambda *_: None)
