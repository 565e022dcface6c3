"""Sockets on a real server: clients that misbehave, are silent, or read too slowly."""

import asyncio
from typing import Any

import pytest

from tests.contract.socket_house import nothing_is_logged, sockets_on
from tests.waiting import PATIENCE, until
from web.realtime.frames import encode_event

__all__ = ["nothing_is_logged"]

#: Larger than what the systems on both ends keep.
MUCH = 16 * 1024 * 1024


async def test_who_answers_no_ping_is_gone() -> None:
    async with sockets_on(ping=0.2, ping_timeout=2.0) as house:
        raw, other = await house.raw(), await house.client()
        assert raw.opening["pingInterval"] == 200
        assert raw.opening["pingTimeout"] == 2000
        assert await raw.closing() == (1001, "ping_timeout")
        assert [reason for _, reason in house.desk.gone] == ["ping_timeout"]
        assert await other.sio.call("still") == ["still"]


async def test_who_never_says_who_they_are_is_closed() -> None:
    async with sockets_on(handshake=0.2) as house:
        raw = await house.raw(connected=False)
        assert await raw.closing() == (1008, "handshake_timeout")

        async def for_ever(auth: Any) -> None:
            await asyncio.sleep(60)

        house.desk.connecting = for_ever
        raw = await house.raw(connected=False)
        await raw.ws.send_str("40")
        assert await raw.closing() == (1008, "handshake_timeout")
        await until(lambda: house.count("sockets_refused", "timed_out") == 1)
        assert not house.desk.gone
        await until(lambda: not house.runner.gateway.connections)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("9", 1008),
        ("", 1008),
        ("4", 1008),
        ("42", 1008),
        ("42{}", 1008),
        ("42[]", 1008),
        ("42[1]", 1008),
        ('42["a"', 1008),
        ('42["a",NaN]', 1008),
        ("42" + "[" * 60_000, 1008),
        ('451-["a",{"_placeholder":true,"num":0}]', 1008),
        ('461-7["a"]', 1008),
        ('421-["a"]', 1008),
        ("44{}", 1008),
        ("47", 1008),
    ],
)
async def test_a_malformed_packet_ends_the_connection(text: str, code: int) -> None:
    async with sockets_on() as house:
        raw = await house.raw()
        await raw.ws.send_str(text)
        assert await raw.closing() == (code, "malformed")
        assert [reason for _, reason in house.desk.gone] == ["malformed"]
        assert not house.desk.events


async def test_bytes_end_the_connection_and_bad_text_does() -> None:
    async with sockets_on() as house:
        raw = await house.raw()
        await raw.ws.send_bytes(b"attached")
        assert await raw.closing() == (1003, "malformed")
        reader, writer = await house.deaf()
        writer.write(b"\x81\x81\0\0\0\0\xff")
        assert (1007).to_bytes(2, "big") + b"malformed" in await reader.read(100)


async def test_a_message_that_is_too_large_ends_the_connection() -> None:
    async with sockets_on(message=2000) as house:
        raw = await house.raw()
        assert raw.opening["maxPayload"] == 2000
        await raw.ws.send_str('421["a","' + "a" * 1980 + '"]')
        assert (await raw.next()).startswith("431")
        await raw.ws.send_str("4" + "a" * 2000)
        assert await raw.closing() == (1009, "too_large")
        assert house.count("sockets_closed", "too_large") == 1


async def test_what_changes_nothing_is_ignored() -> None:
    async with sockets_on() as house:
        raw = await house.raw()
        for text in ('43["an answer to nothing"]', '42/other,["a"]', "41/other,", "3"):
            await raw.ws.send_str(text)
        await raw.ws.send_str("40/other,")
        assert await raw.next() == '44/other,"Unable to connect"'
        await raw.ws.send_str("40")
        assert await raw.next() == '44"Unable to connect"'
        await raw.ws.ping(b"?")
        await raw.ws.pong(b"unasked")
        await raw.ws.send_str('421["here"]')
        assert await raw.next() == '431[["here"]]'
        assert house.desk.events == [("here", [])]


async def test_whoever_sends_more_than_the_application_allows_is_closed() -> None:
    async with sockets_on() as house:
        raw, early = await house.raw(), await house.raw(connected=False)
        house.desk.left = 3
        for _ in range(5):
            await raw.ws.send_str('42["a"]')
        assert await raw.closing() == (1008, "too_many")
        assert len(house.desk.events) <= 3
        assert house.count("sockets_closed", "too_many") == 1
        for _ in range(30):
            await early.ws.send_str('42["a"]')
        assert await early.closing() == (1008, "too_many")


async def test_a_slow_client_is_dropped_and_the_others_are_served() -> None:
    async with sockets_on(buffer=65_536) as house:
        _, writer = await house.deaf()
        slow = house.desk.connected[0]
        [end] = house.sockets._server.eio.sockets.values()
        transport = end.wire.transport
        client = await house.client()
        frame, sent, most = encode_event("message", b'"' + b"a" * 10_000 + b'"'), 0, 0
        while not slow.closed and sent * len(frame) < MUCH:
            house.sockets.send(house.sockets, frame)
            sent, most = sent + 1, max(most, transport.get_write_buffer_size())
            await asyncio.sleep(0)
        assert slow.closed
        assert most <= 65_536 + len(frame)
        assert house.desk.gone == [(slow, "slow")]
        assert house.count("sockets_closed", "slow") == 1
        await until(lambda: len(client.events) == sent + 1)
        await until(lambda: len(house.runner.gateway.connections) == 1)
        writer.close()


async def test_one_who_waits_for_the_client_sends_any_amount() -> None:
    async with sockets_on(buffer=65_536) as house:
        client = await house.client()
        frame = encode_event("message", b'"' + b"a" * 10_000 + b'"')
        for _ in range(200):
            house.desk.connected[0].send(frame)
            await house.desk.connected[0].flush()
        await until(lambda: len(client.events) == 201)


async def test_who_waits_for_a_client_that_is_gone_waits_no_more() -> None:
    async with sockets_on(buffer=2 * MUCH) as house:
        _, writer = await house.deaf()
        slow = house.desk.connected[0]
        slow.send(encode_event("message", b'"' + b"a" * MUCH + b'"'))
        waiting = asyncio.create_task(slow.flush())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            await waiting
