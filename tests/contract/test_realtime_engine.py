"""Sockets on a real server: python-socketio's own client, bare websockets, and clients that misbehave."""

import asyncio
import gc
import logging
import weakref
from typing import Any

import msgspec
import pytest
import socketio
import uvloop
from aiohttp import WSServerHandshakeError

from tests.contract.socket_house import RawSocket, SocketHouse, refuse, sockets_on
from tests.waiting import until
from web.realtime.frames import encode_event
from web.realtime.sockets import Answer, Refused, Socket
from web.serving import stop

#: Larger than what the systems on both ends keep.
MUCH = 16 * 1024 * 1024


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever a client does, it is no failure of ours."""
    with caplog.at_level(logging.WARNING):
        yield
    found = [record for record in caplog.records if record.name.startswith(("web", "aiohttp", "asyncio", "engineio"))]
    assert not [record for record in found if "client" not in record.name]


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")])
async def test_the_librarys_client_has_events_and_acknowledgements(transports: tuple[str, ...]) -> None:
    async with sockets_on(transports=("websocket", "polling")) as house:
        client = await house.client(*transports, auth={"token": "t"})
        assert house.desk.auths == [{"token": "t"}]
        assert await client.sio.call("say", {"text": "ä"}) == ["say", {"text": "ä"}]
        assert await client.sio.call("nothing") == ["nothing"]
        assert client.sio.transport() == transports[-1]
        house.sockets.send(house.sockets, encode_event("message", b'{"id":1}'))
        await until(lambda: ("message", {"id": 1}) in client.events)
        assert client.events[0] == ("hello", {"n": 1})
        assert len(house.sockets) == 1
        await client.sio.disconnect()
        await until(lambda: bool(house.desk.gone))
        assert [reason for _, reason in house.desk.gone] == ["client"]
        assert len(house.sockets) == 0
        assert house.count("sockets_opened") == house.count("sockets_closed", "client") == 1


async def test_polling_is_refused_unless_it_is_turned_on() -> None:
    async with sockets_on() as house:
        async with house.http.get(f"{house.address}/socket.io/?EIO=4&transport=polling") as answer:
            assert answer.status == 400
            assert (await answer.json(content_type=None))["code"] == "malformed_request"
        async with house.http.post(f"{house.address}/socket.io/?EIO=4&transport=polling&sid=x") as answer:
            assert answer.status == 405
        for query in ("EIO=4&transport=websocket", "EIO=3&transport=websocket", "EIO=4&transport=websocket&sid=x"):
            async with house.http.get(f"{house.address}/socket.io/?{query}") as answer:
                assert answer.status == 400
        head = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        for wrong in ({"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Key": "A" * 22 + "==", "Content-Length": "3"}):
            url = f"{house.address}/socket.io/?EIO=4&transport=websocket"
            async with house.http.get(url, headers={**head, **wrong}) as answer:
                assert answer.status == 400
        assert (await house.client()).sio.transport() == "websocket"


async def test_who_is_refused_is_told_why() -> None:
    async with sockets_on() as house:
        house.desk.connecting = refuse
        client = socketio.AsyncClient(reconnection=False)
        told: list[Any] = []
        client.on("connect_error", told.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(house.address, transports=["websocket"])
        assert told == [{"message": "Log in first.", "data": {"code": "not_logged_in", "detail": "Log in first."}}]
        assert house.count("sockets_refused", "not_logged_in") == 1
        assert not house.desk.gone
        # The same connection may try again.
        raw = await house.raw(connected=False)
        await raw.ws.send_str('40{"token":"bad"}')
        assert (await raw.next()).startswith("44")
        house.desk.connecting = None
        await raw.ws.send_str('40{"token":"good"}')
        assert (await raw.next()).startswith('40{"sid":')


async def test_a_page_of_another_site_gets_no_socket() -> None:
    async with sockets_on() as house:
        with pytest.raises(WSServerHandshakeError) as error:
            await house.raw(Origin="https://elsewhere.example")
        assert error.value.status == 403
        await house.raw(Origin=house.address)


async def test_events_are_begun_in_order_and_answered_as_they_are_done() -> None:
    async with sockets_on() as house:
        gate, begun = asyncio.Event(), []

        async def slow(socket: Socket, args: list[Any]) -> Answer:
            await asyncio.sleep(0.001 if args[0] % 3 else 0.005)
            begun.append(args[0])

            async def answer() -> bytes:
                await gate.wait()
                return b"%d" % args[0]

            return answer()

        house.desk.handlers["slow"] = slow
        raw = await house.raw()
        for number in range(10):
            await raw.ws.send_str(f'42{number}["slow",{number}]')
        await raw.ws.send_str('4299["quick"]')
        assert await raw.next() == '4399[["quick"]]'
        assert begun == list(range(10))
        gate.set()
        assert sorted([await raw.next() for _ in range(10)]) == [f"43{number}[{number}]" for number in range(10)]


async def test_so_many_events_of_a_socket_are_under_way_and_no_more() -> None:
    async with sockets_on(under_way=8, ping=0.2, ping_timeout=0.2) as house:
        gate = asyncio.Event()

        async def slow(socket: Socket, args: list[Any]) -> Answer:
            async def answer() -> bytes:
                await gate.wait()
                return b"1"

            return answer()

        house.desk.handlers["slow"] = slow
        raw = await house.raw()
        for number in range(200):
            await raw.ws.send_str(f'42{number}["slow","{"x" * 100}"]')
        await until(lambda: len(house.desk.events) == 8)
        # A client that we don't read can't be blamed for not answering: pings go on, and it stays.
        for _ in range(5):
            assert await raw.next() == "2"
        assert (len(house.desk.events), len(house.sockets)) == (8, 1)
        gate.set()
        answers = 0
        while answers < 200:
            text = await raw.next()
            answers += text.startswith("43")
            if text == "2":
                await raw.ws.send_str("3")
        assert len(house.desk.events) == 200


async def test_pings_go_on_while_an_event_is_handled() -> None:
    async with sockets_on(ping=0.1, ping_timeout=0.3) as house:
        gate = asyncio.Event()

        async def slow(socket: Socket, args: list[Any]) -> Answer:
            await gate.wait()
            return b"1"

        house.desk.handlers["slow"] = slow
        raw = await house.raw()
        await raw.ws.send_str('421["slow"]')
        for _ in range(6):
            assert await raw.next() == "2"
            await raw.ws.send_str("3")
        gate.set()
        while (text := await raw.next()) == "2":
            await raw.ws.send_str("3")
        assert text == "431[1]"


async def test_who_answers_no_ping_is_gone() -> None:
    async with sockets_on(ping=0.1, ping_timeout=0.2) as house:
        raw, other = await house.raw(), await house.client()
        assert raw.opening["pingInterval"] == 100
        assert raw.opening["pingTimeout"] == 200
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


async def test_who_goes_while_being_let_in_is_told_of_afterwards() -> None:
    async with sockets_on() as house:
        gate = asyncio.Event()

        async def wait(auth: Any) -> None:
            await gate.wait()

        house.desk.connecting = wait
        raw = await house.raw(connected=False)
        await raw.ws.send_str("40")
        await until(lambda: bool(house.desk.auths))
        await raw.ws.close()
        await until(lambda: not house.runner.gateway.connections)
        assert not house.desk.gone
        gate.set()
        await until(lambda: bool(house.desk.gone))
        assert [reason for _, reason in house.desk.gone] == ["client"]
        assert not house.desk.connected


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
        await raw.ws.send_str('421["here"]')
        assert await raw.next() == '431[["here"]]'
        assert house.desk.events == [("here", [])]


async def test_who_takes_leave_is_gone_and_so_is_the_connection() -> None:
    async with sockets_on() as house:
        raw = await house.raw()
        await raw.ws.send_str("41")
        await raw.ws.send_str('42["unheard"]')
        assert await raw.closing() == (1000, "client")
        assert [reason for _, reason in house.desk.gone] == ["client"]
        assert not house.desk.events


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
        client = await house.client()
        frame, sent, most = encode_event("message", b'"' + b"a" * 10_000 + b'"'), 0, 0
        while not slow.closed and sent * len(frame) < MUCH:
            house.sockets.send(house.sockets, frame)
            sent, most = sent + 1, max(most, slow.waiting)
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
        async with asyncio.timeout(5):
            await waiting


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


async def test_time_limits_of_requests_are_not_for_sockets_and_the_number_of_connections_is() -> None:
    limits = {"request": 0.1, "idle": 0.1, "head": 0.1, "connections": 2}
    async with sockets_on(connections=limits, ping=0.5) as house:
        raw = await house.raw()
        assert await raw.next() == "2"
        await raw.ws.send_str("3")
        await until(lambda: len(house.runner.gateway.connections) == 1)
        other = await house.raw()
        async with house.http.get(f"{house.address}/health/live") as answer:
            assert answer.status == 503
        await raw.ws.close()
        await until(lambda: len(house.runner.gateway.connections) == 1)
        assert not other.ws.closed


async def test_a_failure_of_the_application_is_logged_and_the_socket_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with sockets_on() as house:

        async def fail(*_: Any) -> Answer:
            raise KeyError("secret")

        async def fail_later(*_: Any) -> Answer:
            return fail()

        house.desk.handlers = {"fail": fail, "later": fail_later}
        raw = await house.raw()
        for text in ('421["fail"]', '422["later"]', '423["well"]'):
            await raw.ws.send_str(text)
        assert await raw.next() == '433[["well"]]'
        house.desk.connecting = fail
        other = await house.raw(connected=False)
        await other.ws.send_str("40")
        assert '"code":"internal_error"' in await other.next()
        await until(lambda: len([one for one in caplog.records if one.name == "web.realtime"]) == 3)
        caplog.clear()


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
            assert at < 1.0
            return after, loop.time() - began

        draining = asyncio.create_task(house.sockets.drain(2.0))
        loop.call_later(1.7, gate.set)
        times = await asyncio.gather(*(when(raw) for raw in raws))
        assert all(after - 0.05 <= closed <= after + 0.6 for after, closed in times)
        assert max(after for after, _ in times) - min(after for after, _ in times) > 0.5
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
        async with asyncio.timeout(3):
            await house.sockets.drain(0.5)
            assert await raw.closing() == (1012, "draining")


def test_the_number_of_connections_is_limited_on_the_loop_that_serves() -> None:
    async def one_too_many() -> int:
        async with sockets_on(connections={"connections": 1}) as house:
            _ = await house.raw()
            async with house.http.get(f"{house.address}/health/live") as answer:
                return answer.status

    assert uvloop.run(one_too_many()) == 503


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


def test_a_refusal_has_a_code_and_a_detail() -> None:
    refused = Refused("code", "detail")
    assert (refused.code, refused.detail, str(refused)) == ("code", "detail", "code")
