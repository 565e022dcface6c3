"""Sockets on a real server: python-socketio's own client and bare websockets, their events and acknowledgements."""

import asyncio
from typing import Any

import msgspec
import pytest
import socketio
import uvloop
from aiohttp import WSServerHandshakeError

from tests.contract.socket_house import nothing_is_logged, refuse, sockets_on
from tests.waiting import until
from web.realtime.frames import encode_event
from web.realtime.sockets import Answer, Refused, Socket

__all__ = ["nothing_is_logged"]


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
            problem = await answer.json(content_type=None)
            assert problem["code"] == "malformed_request"
            assert "by Socket.IO's websocket:" in problem["detail"]
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


async def test_what_is_posted_is_taken_whole_and_what_is_none_is_refused() -> None:
    async with sockets_on(transports=("polling",)) as house:
        polling = f"{house.address}/socket.io/?EIO=4&transport=polling"

        async def opened() -> str:
            async with house.http.get(polling) as answer:
                return f"{polling}&sid={msgspec.json.decode((await answer.read())[1:])['sid']}"

        async def post(url: str, body: bytes, size: int | None = None) -> int:
            """In two pieces, as a network may have it."""
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            length = b"Transfer-Encoding: chunked" if size is None else b"Content-Length: %d" % size
            path = url.removeprefix(house.address).encode()
            half = len(body) // 2
            writer.write(b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n%b" % (path, length, body[:half]))
            await asyncio.sleep(0.05)
            writer.write(body[half:])
            async with asyncio.timeout(5):
                status = int((await reader.readline()).split()[1])
            writer.close()
            return status

        url = await opened()
        assert await post(url, b"40", 2) == 200
        said = b'42["say","' + b"a" * 1000 + b'"]'
        assert await post(url, said, len(said)) == 200
        await until(lambda: house.desk.events == [("say", ["a" * 1000])])
        assert await post(url, b"4\r\n41\x1e9\r\n0\r\n\r\n") == 400
        for wrong in (b"\xff", b"41\x1e9", b"9", b"d=%", b"x" * 70_000):
            assert await post(await opened(), wrong, len(wrong)) == 400, wrong[:10]


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
    async with sockets_on(under_way=8, ping=0.2, ping_timeout=1.0) as house:
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
        for _ in range(8):
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
    async with sockets_on(ping=0.1, ping_timeout=5.0) as house:
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


async def test_time_limits_of_requests_are_not_for_sockets_and_the_number_of_connections_is() -> None:
    limits = {"request": 0.4, "idle": 0.4, "head": 0.4, "connections": 2}
    async with sockets_on(connections=limits, ping=1.5) as house:
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


def test_the_number_of_connections_is_limited_on_the_loop_that_serves() -> None:
    async def one_too_many() -> int:
        async with sockets_on(connections={"connections": 1}) as house:
            _ = await house.raw()
            async with house.http.get(f"{house.address}/health/live") as answer:
                return answer.status

    assert uvloop.run(one_too_many()) == 503


def test_a_refusal_has_a_code_and_a_detail() -> None:
    refused = Refused("code", "detail")
    assert (refused.code, refused.detail, str(refused)) == ("code", "detail", "code")
