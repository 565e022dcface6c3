"""The pure parts of the wire to Redis: addresses, and one connection on a transport that only notes what is written."""

import asyncio
from typing import Any, cast

import pytest
from redis.exceptions import BusyLoadingError, NoScriptError, OutOfMemoryError, ResponseError

from devconnect.adapters.redis import line as module
from devconnect.adapters.redis.address import Address
from devconnect.adapters.redis.line import Line, error_of
from devconnect.ports.truth import UnavailableError
from tests.waiting import until


class Transport:
    """Notes what is written, and whether it was aborted."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True


class Connected:
    """A line on such a transport, what was pushed to it, and why it was lost."""

    def __init__(self, *, deadline: float = 5.0) -> None:
        self.transport = Transport()
        self.pushed: list[Any] = []
        self.lost: list[str] = []
        self.line = Line(deadline=deadline, pushed=self.pushed.append, lost=lambda _, why: self.lost.append(why))
        self.line.connection_made(cast(asyncio.BaseTransport, self.transport))

    def hear(self, *data: bytes) -> None:
        for part in data:
            self.line.data_received(part)


async def test_the_calls_of_one_turn_go_out_in_one_write_and_are_answered_in_their_order() -> None:
    given = Connected()
    first, second = given.line.send([("GET", "a"), ("GET", "b")]), given.line.send([("INCRBY", "é", 7)])
    assert given.transport.written == []
    await asyncio.sleep(0)
    [data] = given.transport.written
    assert data.count(b"GET") == 2
    assert data.endswith(b"*3\r\n$6\r\nINCRBY\r\n$2\r\n\xc3\xa9\r\n$1\r\n7\r\n")
    given.hear(b"$1\r\n1\r\n$-1\r\n:8\r\n")
    assert (await first, await second) == (["1", None], [8])


async def test_answers_that_come_in_pieces_are_put_together() -> None:
    given = Connected()
    calls = [given.line.send([("GET", "a")], raw=raw) for raw in (False, True, False)]
    text = "Grüße".encode()
    data = b"".join(b"$%d\r\n%s\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n" % (len(text), text) for _ in calls)
    given.hear(*(data[at : at + 1] for at in range(len(data))))
    assert [await call for call in calls] == [["Grüße"], [text], ["Grüße"]]
    assert len(given.pushed) == 3


@pytest.mark.parametrize("cancelled", range(3))
async def test_a_call_that_was_cancelled_leaves_its_answer_to_nobody_else(cancelled: int) -> None:
    given = Connected()
    calls = [given.line.send([("GET", name)]) for name in "abc"]
    calls[cancelled].cancel()
    given.hear(b"$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n")
    for index, name in enumerate("abc"):
        if index != cancelled:
            assert await calls[index] == [name]


async def test_arguments_that_are_none_send_nothing_and_shift_nothing() -> None:
    given = Connected()
    bad: Any = [("GET", "a"), ("GET", None)]
    with pytest.raises(TypeError):
        given.line.send(bad)
    call = given.line.send([("GET", "b")])
    await asyncio.sleep(0)
    assert given.transport.written == [b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"]
    given.hear(b"$1\r\nb\r\n")
    assert await call == ["b"]
    assert await given.line.send([]) == []


async def test_what_is_no_utf_8_costs_nobody_else_an_answer() -> None:
    given = Connected()
    calls = [given.line.send([("GET", "a"), ("GET", "b")]), given.line.send([("GET", "c")])]
    given.hear(b"*1\r\n$2\r\n\xff\xfe\r\n$1\r\nb\r\n$1\r\nc\r\n")
    assert (await calls[0])[1] == "b"
    assert await calls[1] == ["c"]


async def test_while_the_transport_is_full_calls_wait_here_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    given = Connected()
    given.line.pause_writing()
    calls = [given.line.send([("GET", f"{number}")]) for number in range(5)]
    await asyncio.sleep(0)
    assert given.transport.written == []
    with pytest.raises(UnavailableError, match="too many"):
        given.line.send([("GET", "6")])
    given.line.resume_writing()
    assert len(given.transport.written) == 1
    calls.append(given.line.send([("GET", "6")]))
    given.hear(b"".join(b"$1\r\n%d\r\n" % number for number in range(6)))
    assert [await call for call in calls] == [[f"{number}"] for number in range(6)]


async def test_no_more_than_so_many_commands_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COMMANDS", 3)
    given = Connected()
    call = given.line.send([("GET", "a")] * 3)
    with pytest.raises(UnavailableError, match="too many"):
        given.line.send([("GET", "b")])
    given.hear(b":1\r\n:2\r\n:3\r\n")
    assert await call == [1, 2, 3]
    given.line.send([("GET", "b")] * 3)


async def test_a_call_without_an_answer_in_time_loses_the_connection_and_all_that_was_called() -> None:
    given = Connected(deadline=0.05)
    answered = given.line.send([("GET", "a")])
    given.hear(b":1\r\n")
    calls = [given.line.send([("GET", "a")]), given.line.send([("GET", "b")])]
    await until(lambda: given.lost)
    assert await answered == [1]
    for call in calls:
        with pytest.raises(UnavailableError, match="no answer in time"):
            await call
    assert given.transport.aborted
    given.hear(b":2\r\n")
    with pytest.raises(UnavailableError):
        given.line.send([("GET", "c")])
    given.line.connection_lost(None)
    assert given.lost == ["no answer in time"]


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b":1\r\n:2\r\n"])
async def test_what_is_no_answer_to_anything_loses_the_connection(data: bytes) -> None:
    given = Connected()
    call = given.line.send([("GET", "a")])
    given.hear(data)
    assert len(given.lost) == 1
    await asyncio.wait({call})
    assert given.transport.aborted


async def test_what_was_asked_when_is_the_proof_of_what_has_been_told() -> None:
    given = Connected()
    assert given.line.proven == float("-inf")
    call = given.line.send([("GET", "a")])
    before = given.line.proven
    given.hear(b":1\r\n")
    await call
    first = given.line.proven
    given.line.send([("GET", "b")])
    assert before < first == given.line.proven
    given.hear(b":2\r\n")
    assert given.line.proven >= first


def test_errors_are_those_of_redis_py() -> None:
    assert type(error_of("NOSCRIPT No matching script")) is NoScriptError
    assert type(error_of("OOM command not allowed")) is OutOfMemoryError
    assert type(error_of("LOADING Redis is loading")) is BusyLoadingError
    assert type(error_of("WRONGTYPE Operation")) is ResponseError
    assert str(error_of("WRONGTYPE Operation")) == "WRONGTYPE Operation"


def greeting(url: str) -> list[Any]:
    return Address.parse(url).greeting(track=False)


def test_who_one_is_and_which_database_is_meant_stands_in_the_address() -> None:
    assert greeting("redis://h") == greeting("redis://h/0") == [("HELLO", 3)]
    assert greeting("redis://:p%40ss@h:1/2") == [("HELLO", 3, "AUTH", "default", "p@ss"), ("SELECT", 2)]
    assert greeting("rediss://u:p@h?db=3") == [("HELLO", 3, "AUTH", "u", "p"), ("SELECT", 3)]
    assert greeting("unix:///tmp/a.sock?db=1") == [("HELLO", 3), ("SELECT", 1)]
    assert Address.parse("redis://h").greeting(track=True)[-1] == ("CLIENT", "TRACKING", "ON", "OPTIN")
    found = Address.parse("redis://h:77/1")
    assert (found.host, found.port, found.tls) == ("h", 77, None)
    assert Address.parse("unix:///tmp/a.sock").path == "/tmp/a.sock"
    assert Address.parse("rediss://h?ssl_cert_reqs=none").tls == {"ssl_cert_reqs": "none"}


@pytest.mark.parametrize("url", ["http://h", "h:6379", "redis://h/x", "redis://h?socket_timeout=1", "redis://h:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each says it in its own words
        Address.parse(url)
