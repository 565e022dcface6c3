"""The server on real sockets: what it refuses, how long it waits, and how it lets go of everybody."""

import asyncio
import re
import socket
from typing import Any

import pytest
from aiohttp import web

from tests.unit.edge_house import Raw, served
from tests.waiting import until
from web.bounds import ALLOWANCE, FIELD_MAX, HEAD_MAX, HEADERS_MAX, LINE_MAX
from web.listening import let_in_the_last

HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"


def field(size: int, name: bytes = b"X-A") -> bytes:
    return name + b": " + b"a" * size + b"\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed_request"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 TLS", 400, "malformed_request"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        (HEAD + b"no colon\r\n\r\n", 400, "malformed_request"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed_request"),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed_request"),
        (b"GET /" + b"a" * LINE_MAX + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (HEAD + field(FIELD_MAX + 1) + b"\r\n", 431, "headers_too_large"),
        (HEAD + b"X" * FIELD_MAX + b"X: a\r\n\r\n", 431, "headers_too_large"),
        (HEAD + b"".join(field(1, b"X-%d" % n) for n in range(HEADERS_MAX)) + b"\r\n", 431, "headers_too_large"),
        (HEAD + b"".join(field(8000, b"X-%d" % n) for n in range(5)) + b"\r\n", 431, "headers_too_large"),
        (HEAD + b"Expect: miracles\r\nContent-Length: 1\r\n\r\n", 417, "expectation_failed"),
        (HEAD + b"Expect: \xff\xfe\r\nContent-Length: 1\r\n\r\n", 417, "expectation_failed"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "not_found"),
    ],
)
async def test_what_is_no_request_is_refused_by_a_problem(sent: bytes, status: int, code: str) -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        raw.send(sent)
        answer = await raw.read()
        assert (answer.status, answer.code) == (status, code)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["server"] == "devconnect"
        assert answer.headers["request-id"]
        if status in (400, 414, 431):
            assert answer.headers["connection"] == "close"
            assert await raw.is_closed()
        counts = gateway.house.metrics.counts
        assert [key for key in counts if key[0] == "http_requests" and key[2:] == ("unmatched", str(status))]
        assert (await gateway.ask("/health/live")).status == 200


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (b"Authorization: Bearer \xff\xfe", 401, "not_logged_in"),
        (b"Sec-Fetch-Site: same-origin\r\nCookie: __Host-dc_token=\xff\xfe", 401, "not_logged_in"),
        (b"Authorization: \xff\xfe", 401, "not_logged_in"),
        (b"X-Forwarded-For: \xff\xfe", 401, "not_logged_in"),
    ],
)
async def test_a_header_of_bytes_that_are_no_text_is_only_wrong(header: bytes, status: int, code: str) -> None:
    async with served() as gateway:
        for line in (b"GET /v1/me", b"PATCH /v1/me"):
            raw = await gateway.raw()
            raw.send(line + b" HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\nContent-Length: 0\r\n\r\n")
            answer = await raw.read()
            assert (answer.status, answer.code) == (status, code)


async def test_an_idempotency_key_of_bytes_that_are_no_text_is_refused() -> None:
    async with served() as gateway:
        ada = await gateway.house.person("ada")
        raw = await gateway.raw()
        head = f"PATCH /v1/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ada.token}\r\n".encode()
        raw.send(head + b"Content-Type: application/json\r\nContent-Length: 2\r\nIdempotency-Key: \xff\r\n\r\n{}")
        answer = await raw.read()
        assert (answer.status, answer.code) == (400, "invalid_header")


async def test_a_refusal_arrives_though_the_client_goes_on_sending() -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        raw.send(HEAD + field(FIELD_MAX + 1))
        for _ in range(20):
            raw.send(field(FIELD_MAX))
            await raw.writer.drain()
            await asyncio.sleep(0.01)
        assert (await raw.read()).code == "headers_too_large"


async def test_a_head_in_pieces_may_not_be_larger_than_one_in_one_piece() -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        raw.send(HEAD)
        for number in range(HEAD_MAX // 4000 + 1):
            raw.send(field(4000, b"X-%d" % number))
            await asyncio.sleep(0.002)
        assert (await raw.read()).code == "headers_too_large"


async def test_what_fits_is_taken() -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        raw.send(HEAD + b"".join(field(200, b"X-%d" % n) for n in range(HEADERS_MAX - 2)) + b"\r\n")
        assert (await raw.read()).status == 200
        assert (await raw.ask("/health/live", X_A="a" * (FIELD_MAX - 20))).status == 200
        assert (await raw.ask("/health/live?" + "a" * (LINE_MAX - 20))).status == 200


async def test_requests_before_a_bad_one_are_answered_first() -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        raw.send(HEAD + b"\r\n" + HEAD + b"\r\n")
        # In one piece with them aiohttp's parser forgets those before: then the refusal is the one answer there is.
        await asyncio.sleep(0.05)
        raw.send(HEAD + field(FIELD_MAX + 1) + b"\r\n")
        assert [(await raw.read()).status for _ in range(3)] == [200, 200, 431]


async def test_a_slow_head_is_cut_off_and_slowness_doesnt_hinder_others() -> None:
    async with served(limits={"head": 0.3, "idle": 30}) as gateway:
        slow = [await gateway.raw() for _ in range(50)]
        stop = asyncio.Event()

        async def dribble(raw: Raw) -> None:
            for letter in HEAD * 100:
                if stop.is_set():
                    return
                raw.send(bytes([letter]))
                await asyncio.sleep(0.01)

        dribbling = [asyncio.create_task(dribble(raw)) for raw in slow]
        assert (await gateway.ask("/health/live")).status == 200
        answers = await asyncio.gather(*(raw.read() for raw in slow))
        stop.set()
        await asyncio.gather(*dribbling)
        assert {(answer.status, answer.code) for answer in answers} == {(408, "request_timeout")}
        assert all([await raw.is_closed() for raw in slow])


async def test_who_says_nothing_at_all_is_cut_off_without_a_word() -> None:
    async with served(limits={"head": 0.1, "idle": 30}) as gateway:
        raw = await gateway.raw()
        with pytest.raises(EOFError, match="b''"):
            await raw.read()


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"G"])
async def test_a_later_head_has_no_more_time_than_the_first(start: bytes) -> None:
    async with served(limits={"head": 0.1, "idle": 30}) as gateway:
        raw, together = await gateway.raw(), await gateway.raw()
        assert (await raw.ask("/health/live")).status == 200
        raw.send(start)
        together.send(HEAD + b"\r\n" + start)
        assert (await together.read()).status == 200
        assert [(await each.read()).code for each in (raw, together)] == ["request_timeout"] * 2


async def test_between_requests_there_is_the_idle_time_and_no_more() -> None:
    async with served(limits={"head": 0.1, "idle": 2.0}) as gateway:
        raw = await gateway.raw()
        await raw.ask("/health/live")
        await asyncio.sleep(0.3)
        assert (await raw.ask("/health/live")).status == 200
        assert await raw.is_closed()


async def test_a_slow_body_is_a_problem_and_the_end_of_its_connection() -> None:
    async with served(limits={"body": 0.1, "request": 30}) as gateway:
        raw = await gateway.raw()
        head = "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        raw.send(head.encode())
        answer = await raw.read()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"
        assert await raw.is_closed()


async def test_a_body_that_comes_in_pieces_in_time_is_taken() -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        body = b'{"email": "a@b.de", "password": "x"}'
        raw.send(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        raw.send(b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        for letter in body:
            raw.send(bytes([letter]))
            await asyncio.sleep(0.001)
        assert (await raw.read()).code == "wrong_credentials"
        assert (await raw.ask("/health/live")).status == 200


async def test_a_body_that_waits_for_its_handler_is_not_slow() -> None:
    async def late(request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.json_response(len(await request.read()))

    async with served(web.post("/late", late), limits={"body": 0.1, "request": 30}) as gateway:
        assert (await gateway.ask("/late", "POST", b"x" * 1_000_000)).code == "body_too_large"


async def big(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * 50_000_000)


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async with served(web.get("/big", big), limits={"send": 0.1}) as gateway:
        raw = await gateway.raw()
        raw.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: gateway.runner.gateway.connections)
        await until(lambda: not gateway.runner.gateway.connections)


async def test_a_large_answer_that_is_read_in_time_arrives() -> None:
    async with served(web.get("/big", big), limits={"send": 10.0}) as gateway:
        assert len((await gateway.ask("/big")).body) == 50_000_000


async def test_a_closed_connection_that_is_never_emptied_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def closing(_: web.Request) -> web.Response:
        response = web.Response(body=b"x" * 50_000_000)
        response.force_close()
        return response

    monkeypatch.setattr("web.connection.CLOSE_SECONDS", 0.1)
    async with served(web.get("/closing", closing), limits={"send": 30}) as gateway:
        raw = await gateway.raw()
        raw.send(b"GET /closing HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: gateway.runner.gateway.connections)
        [connection] = gateway.runner.gateway.connections
        await until(lambda: connection.writing_paused)
        connection.force_close()
        await until(lambda: not gateway.runner.gateway.connections)


async def test_a_client_that_doesnt_read_is_not_written_to_for_ever() -> None:
    async def much(_: web.Request) -> web.Response:
        answered.append(1)
        return web.Response(body=b"x" * 1_000_000, content_type="text/css", headers={"Content-Encoding": "br"})

    answered: list[int] = []
    async with served(web.get("/much", much), limits={"send": 30}) as gateway:
        raw = await gateway.raw()
        raw.writer.transport.pause_reading()
        raw.send(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
        await until(lambda: gateway.runner.gateway.connections)
        [connection] = gateway.runner.gateway.connections
        await until(lambda: connection.writing_paused)
        # As long as it would take to write much more.
        await asyncio.sleep(0.5)
        assert 0 < len(answered) < 20


class Sleeper:
    """A handler that takes as long as it is told to, and says what became of it."""

    def __init__(self, seconds: float, allowance: float | None = None) -> None:
        self.seconds, self.allowance = seconds, allowance
        self.began = asyncio.Event()
        self.ended: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        if self.allowance is not None:
            request[ALLOWANCE] = self.allowance
        self.began.set()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return web.json_response({"slept": True})


async def test_a_request_that_takes_too_long_is_504_and_its_connection_goes_on() -> None:
    sleeper = Sleeper(30)
    async with served(web.get("/sleep", sleeper), limits={"request": 0.1}) as gateway:
        raw = await gateway.raw()
        answer = await raw.ask("/sleep")
        assert (answer.status, answer.code, sleeper.ended) == (504, "timed_out", ["cancelled"])
        assert (await raw.ask("/health/live")).status == 200
        assert gateway.house.metrics.counts["http_requests", "GET", "/sleep", "504"] == 1


async def test_what_changes_something_has_longer_and_so_has_who_asks_for_it() -> None:
    command, asked = Sleeper(0.4), Sleeper(0.4, allowance=5)
    limits = {"request": 0.1, "command": 5}
    async with served(web.post("/command", command), web.get("/asked", asked), limits=limits) as gateway:
        assert (await gateway.ask("/command", "POST")).status == 200
        assert (await gateway.ask("/asked")).status == 200


async def test_one_connection_too_many_is_told_so_and_there_is_room_again_later() -> None:
    async with served(limits={"connections": 2}) as gateway:
        first, second = await gateway.raw(), await gateway.raw()
        assert [(await raw.ask("/health/live")).status for raw in (first, second)] == [200, 200]
        third = await gateway.raw()
        answer = await third.ask("/health/live")
        assert (answer.status, answer.code, answer.headers["connection"]) == (503, "too_busy", "close")
        assert await third.is_closed()
        first.close()

        async def is_room() -> bool:
            return (await gateway.ask("/health/live")).status == 200

        await until(is_room)
        assert (await second.ask("/health/live")).status == 200


async def drained(gateway: Any, seconds: float = 5.0) -> int:
    gateway.life.draining = True
    await let_in_the_last(gateway.sockets)
    for site in gateway.sites:
        await site.stop()
    left: int = await gateway.runner.gateway.drain(seconds)
    return left


async def test_a_drain_ends_what_is_in_flight_and_each_connection_after_its_answer() -> None:
    sleeper = Sleeper(0.5)
    async with served(web.get("/sleep", sleeper)) as gateway:
        idle, busy, posting = await gateway.raw(), await gateway.raw(), await gateway.raw()
        await idle.ask("/health/live")
        busy.send(b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n")
        body = b'{"email": "a@b.de", "password": "x"}'
        posting.send(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        posting.send(b"Content-Length: %d\r\n\r\n{" % len(body))
        await sleeper.began.wait()
        draining = asyncio.create_task(drained(gateway))
        await asyncio.sleep(0.1)
        last = await idle.ask("/health/ready")
        assert (last.status, last.json["status"], last.headers["connection"]) == (503, "stopping", "close")
        assert await idle.is_closed()
        posting.send(body[1:])
        assert (await posting.read()).code == "wrong_credentials"
        answer = await busy.read()
        assert (answer.json, answer.headers["connection"]) == ({"slept": True}, "close")
        assert await draining == 0


async def test_a_drain_closes_who_is_at_rest_and_doesnt_wait_for_ever() -> None:
    sleeper = Sleeper(30)
    async with served(web.get("/sleep", sleeper)) as gateway:
        idle, busy = await gateway.raw(), await gateway.raw()
        await idle.ask("/health/live")
        busy.send(b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n")
        await sleeper.began.wait()
        assert await drained(gateway, 0.4) == 1
        assert await idle.is_closed()


async def test_who_has_just_asked_is_not_closed_as_one_at_rest() -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        await raw.ask("/health/live")
        [connection] = gateway.runner.gateway.connections
        transport = connection.transport
        assert transport is not None
        transport.pause_reading()
        raw.send(HEAD + b"\r\n")
        await asyncio.sleep(0.1)
        connection.leave(asyncio.get_running_loop().time() + 100, 1.0)
        transport.resume_reading()
        assert (await raw.read()).status == 200


async def test_who_waits_to_be_accepted_when_listening_stops_is_served() -> None:
    async with served() as gateway:
        waiting = [await gateway.raw() for _ in range(100)]
        for raw in waiting:
            raw.send(HEAD + b"\r\n")
        draining = asyncio.create_task(drained(gateway))
        answers = await asyncio.gather(*(raw.read() for raw in waiting))
        assert {answer.status for answer in answers} == {200}
        assert await draining == 0
        with pytest.raises(OSError, match=re.compile("refused|timed out|Connect call failed")):
            await gateway.raw()


async def test_before_listening_stops_nobody_new_gets_in_and_all_who_wait_are_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        waiting = [await Raw.to(listening.getsockname()[1]) for _ in range(3)]
        letting_in = asyncio.create_task(let_in_the_last([listening]))
        await asyncio.sleep(0.2)
        for raw in waiting:
            assert not letting_in.done()
            (await loop.sock_accept(listening))[0].close()
            raw.close()
        await letting_in
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Raw.to(listening.getsockname()[1]), 0.2)
