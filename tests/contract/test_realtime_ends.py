"""Sockets on a real server: how they end, what still arrives, and that nothing is left of them."""

import asyncio
import gc
import weakref
from typing import Any

import msgspec
import pytest
from aiohttp import WSServerHandshakeError

from tests.contract.socket_house import RawSocket, SocketHouse, nothing_is_logged, sockets_on
from tests.waiting import PATIENCE, until
from web.realtime.sockets import Answer, Socket
from web.serving import stop

__all__ = ["nothing_is_logged"]


async def test_who_takes_leave_is_gone_and_so_is_the_connection() -> None:
    async with sockets_on() as house:
        raw = await house.raw()
        await raw.ws.send_str("41")
        await raw.ws.send_str('42["unheard"]')
        assert await raw.closing() == (1000, "client")
        assert [reason for _, reason in house.desk.gone] == ["client"]
        assert not house.desk.events


async def test_what_is_sent_before_a_close_arrives() -> None:
    async with sockets_on() as house:
        raw, client = await house.raw(), await house.client()
        for one in house.sockets:
            one.emit("session_ended", b'{"why":"logged_out"}')
            one.close("session_ended", final=True)
            one.emit("late")
        assert [await raw.next(), await raw.next()] == ['42["session_ended",{"why":"logged_out"}]', "41"]
        assert await raw.closing() == (1000, "session_ended")
        await until(lambda: client.ended == ["server disconnect"])
        assert house.count("sockets_closed", "session_ended") == 2


async def test_a_drain_spreads_the_clients_and_keeps_its_acknowledgements() -> None:
    async with sockets_on() as house:
        gate = asyncio.Event()

        async def slow(socket: Socket, args: list[Any]) -> Answer:
            await gate.wait()
            return b'"done"'

        house.desk.handlers["slow"] = slow
        raws = [await house.raw() for _ in range(40)]
        busy = await house.raw()
        await busy.ws.send_str('427["slow"]')
        await until(lambda: len(house.desk.events) == 1)
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def told(raw: RawSocket) -> tuple[float, float, tuple[int | None, str | None]]:
            text = await raw.next()
            assert text.startswith('42["reconnect",{"after_ms":'), text
            after = int(text.partition('"after_ms":')[2].rstrip("}]")) / 1000
            return after, loop.time() - began, await raw.closing()

        async def when(raw: RawSocket) -> tuple[float, float]:
            after, at, closing = await told(raw)
            assert closing == (1012, "draining")
            assert at < 1.5
            return after, loop.time() - began

        draining = asyncio.create_task(house.sockets.drain(2.0))
        loop.call_later(1.7, gate.set)
        times = await asyncio.gather(*(when(raw) for raw in raws))
        assert all(after - 0.05 <= closed <= after + 3 for after, closed in times)
        assert all(max(each) - min(each) > 0.5 for each in zip(*times, strict=True))
        with pytest.raises(WSServerHandshakeError) as error:
            await house.raw()
        assert error.value.status == 503
        assert (await busy.next()).startswith('42["reconnect"')
        assert await busy.next() == '437["done"]'
        assert await busy.closing() == (1012, "draining")
        await draining
        assert house.count("sockets_closed", "draining") == 41


async def test_a_gateway_that_stops_drains_its_sockets() -> None:
    async with sockets_on() as house:
        raws = [await house.raw() for _ in range(5)]
        settings = msgspec.structs.replace(house.house.parts.settings, drain=1.0)
        stopping = asyncio.create_task(stop(house.runner, [house.site], [house.listening], settings))
        for raw in raws:
            assert (await raw.next()).startswith('42["reconnect"')
            assert await raw.closing() == (1012, "draining")
        await stopping
        assert not house.runner.gateway.connections


async def test_a_drain_ends_though_an_event_does_not() -> None:
    async with sockets_on() as house:

        async def for_ever(socket: Socket, args: list[Any]) -> Answer:
            async def answer() -> bytes:
                await asyncio.sleep(60)
                return b"1"

            return answer()

        house.desk.handlers["slow"] = for_ever
        raw, _ = await house.raw(), await house.raw(connected=False)
        await raw.ws.send_str('427["slow"]')
        await until(lambda: len(house.desk.events) == 1)
        async with asyncio.timeout(PATIENCE):
            await house.sockets.drain(0.5)
            assert await raw.closing() == (1012, "draining")


async def _connect_and_lose(house: SocketHouse) -> None:
    raw = await house.raw()
    raw.ws._response.connection.transport.abort()


async def test_nothing_is_left_of_those_who_are_lost() -> None:
    async with sockets_on() as house:
        await asyncio.gather(*(_connect_and_lose(house) for _ in range(20)))
        await until(lambda: len(house.desk.gone) == 20)
        assert {reason for _, reason in house.desk.gone} == {"lost"}
        server = house.sockets._server
        kept = (server.eio.sockets, server.manager.clients, server.manager.waiting, server.environ, server.eio.tasks)
        assert not any(kept)
        assert all(socket.closed for socket, _ in house.desk.gone)
        await until(lambda: not house.runner.gateway.connections)


async def test_a_socket_that_is_over_needs_no_collector() -> None:
    async with sockets_on() as house:
        gc.collect()
        gc.disable()
        try:
            raw = await house.raw()
            ends = [weakref.ref(end) for end in house.sockets._server.eio.sockets.values()]
            await raw.ws.send_str('421["a"]')
            await raw.next()
            await raw.ws.close()
            await until(lambda: bool(house.desk.gone))
            await until(lambda: not any(end() for end in ends))
        finally:
            gc.enable()
