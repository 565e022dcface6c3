"""What the realtime benchmark takes for delivered, and what its report comes to: nothing wrong is ever fast."""

import asyncio
import zlib
from types import SimpleNamespace
from typing import Any

import pytest

from bench.realtime import make_room
from bench.rig import BenchError
from bench.sockets import endtoend, wire
from bench.sockets.dialects import DIALECTS, DialectError
from bench.sockets.endtoend import Arrivals, EndToEnd, held
from bench.sockets.generator import Pairs, Room
from bench.sockets.links import LinkError
from bench.sockets.report import FanOut, Hold, Latency, Result, Turn, busy, ratios, summed_up

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + wire.ACCEPTED + b"\r\n"


def served(payload: bytes, head: int = 0x81) -> bytes:
    """A frame of a server."""
    if len(payload) < 126:
        return bytes((head, len(payload))) + payload
    return bytes((head, 126)) + len(payload).to_bytes(2, "big") + payload


def opened(extensions: bytes = b"") -> wire.Reader:
    reader = wire.Reader()
    assert reader.answered(SWITCHED + extensions + b"\r\n")
    return reader


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_are_the_same_however_the_bytes_come(size: int) -> None:
    wanted = [(wire.TEXT, b"a" * 10), (wire.PING, b"p"), (wire.TEXT, b"b" * 300), (wire.TEXT, b"in parts")]
    data = served(b"a" * 10) + served(b"p", 0x89) + served(b"b" * 300) + served(b"in ", 0x01) + served(b"parts", 0x80)
    reader = opened()
    found = [each for at in range(0, len(data), size) for each in reader.messages(data[at : at + size])]
    assert found == wanted


def test_compressed_messages_are_read_when_compression_was_agreed_on() -> None:
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    sent = [b"the same text" * 3, b"the same text" * 3]
    frames = [press.compress(text) + press.flush(zlib.Z_SYNC_FLUSH) for text in sent]
    data = b"".join(served(each.removesuffix(b"\0\0\xff\xff"), 0xC1) for each in frames)
    agreed = opened(b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert [text for _, text in agreed.messages(data)] == sent
    with pytest.raises(wire.WireError):
        list(opened().messages(data))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", SWITCHED.replace(wire.ACCEPTED, b"x") + b"\r\n"])
def test_a_handshake_that_is_refused_is_no_connection(answer: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.Reader().answered(answer)


@pytest.mark.parametrize("name", DIALECTS)
def test_what_is_no_part_of_a_protocol_ends_the_load(name: str) -> None:
    with pytest.raises(DialectError):
        DIALECTS[name].control(b'44{"message":"no"}', "u1", "")


def test_a_client_says_who_it_is_and_answers_pings() -> None:
    socketio, centrifuge = DIALECTS["socketio"], DIALECTS["centrifuge"]
    assert socketio.control(b'0{"sid":"x"}', "u1", "r").answer == b'40{"user":"u1","room":"r"}'
    assert socketio.control(b'40{"sid":"y"}', "u1", "r").ready
    assert socketio.control(b"2", "u1", "r").answer == b"3"
    assert centrifuge.opening("u1", "r").answer == b'{"id":1,"connect":{"data":{"user":"u1","room":"r"}}}'
    assert centrifuge.control(b'{"id":1,"connect":{}}', "u1", "r").ready
    assert centrifuge.control(b"{}", "u1", "r").answer == b"{}"


class FakeLink:
    """Keeps what it says."""

    def __init__(self, number: int) -> None:
        self.user, self.room = f"u{number}", "room"
        self.said: list[bytes] = []
        self.heard: Any = None

    def say(self, text: bytes) -> None:
        self.said.append(text)


def test_a_message_counts_once_and_for_its_recipient() -> None:
    links: list[Any] = [FakeLink(number) for number in range(4)]
    pairs = Pairs(links)
    pairs.send(0)
    pairs.send(1)
    first, second = links[0].said[0], links[2].said[0]
    assert b'"to":"u1"' in first
    assert b'"to":"u3"' in second
    links[1].heard(links[1], first, 1)
    assert (len(pairs.found), len(pairs.under_way)) == (1, 1)
    for recipient, text in ((links[1], first), (links[1], second)):
        with pytest.raises(LinkError):
            recipient.heard(recipient, text, 1)


def test_a_room_has_everything_in_order_or_fails() -> None:
    links: list[Any] = [FakeLink(number) for number in range(3)]
    room = Room(links, 2)
    room.fill()
    said = links[0].said
    assert (len(said), room.missing) == (2, 6)
    for link in links[:2]:
        link.heard(link, said[0] + said[1], 2)
    links[2].heard(links[2], said[0], 1)
    with pytest.raises(LinkError):
        room.check()
    links[2].heard(links[2], said[1], 1)
    room.check()
    room.fill()
    for link in links[:2]:
        link.heard(link, said[2] + said[3], 2)
    links[2].heard(links[2], said[3] + said[2], 2)
    with pytest.raises(LinkError):
        room.check()


async def test_an_event_may_come_before_its_answer_and_must_come_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = Arrivals()
    arrivals.note({"data": {"id": "early"}})
    arrivals.note("no message")
    assert await arrivals.of("early") > 0
    waiting = asyncio.create_task(arrivals.of("late"))
    await asyncio.sleep(0)
    arrivals.note({"data": {"id": "late"}})
    assert await waiting > 0
    monkeypatch.setattr(endtoend, "PATIENCE", 0.01)
    with pytest.raises(BenchError):
        await arrivals.of("never")


def result(memory: float, rate: float, stall: float | None = None, share: float = 0.1) -> Result:
    latency = Latency(p50_ms=1.0, p99_ms=2.0, server_share=0.1, generator_share=0.1)
    fan_out = FanOut(per_second=rate, server_us=1.0, server_share=0.1, generator_share=share)
    turn = Turn(memory=memory, one_to_one=latency, fan_out=fan_out, across=latency)
    held = Hold(connections=9, seconds=1.0, memory=memory, pings=9, opened_in=1.0, stall_ms=stall)
    return summed_up([turn] * 3, held)


def test_aims_that_are_missed_are_said() -> None:
    found = ratios(
        {"ours": result(14.0, 50.0, 51.0), "centrifuge": result(10.0, 1.0), "aiohttp": result(1.0, 100.0)}, None
    )
    assert {name: (aim.value, aim.held) for name, aim in found.items()} == {
        "memory: ours / centrifuge": (1.4, False),
        "fan-out: ours / aiohttp": (0.5, False),
        "ours: longest stall, ms": (51.0, False),
    }
    found = ratios(
        {"ours": result(13.0, 50.0, 50.0), "centrifuge": result(10.0, 1.0), "socketio": result(1.0, 12.5)}, None
    )
    assert len(found) == 3
    assert all(aim.held for aim in found.values())


def test_end_to_end_is_held_against_the_round_trip() -> None:
    sampled = held([0.005] * 100, 1.0, 1.0)
    found = EndToEnd(round_trip_p50_ms=1.0, round_trip_p99_ms=1.0, samples=100, rate=50.0, sampled={"steady": sampled})
    aims = {name: (round(aim.value, 6), aim.held) for name, aim in ratios({}, found).items()}
    assert aims == {
        "end to end, steady: p50 / round trip": (5.0, False),
        "end to end, steady: p99 / round trip": (5.0, True),
    }


def test_a_generator_that_was_busy_is_said() -> None:
    assert len(busy({"aiohttp": result(1.0, 1.0, share=0.95), "ours": result(1.0, 1.0)})) == 1


def test_more_connections_than_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = SimpleNamespace(RLIMIT_NOFILE=0, RLIM_INFINITY=-1, getrlimit=lambda _: (100, 1_000))
    monkeypatch.setattr("bench.realtime.resource", limits)
    with pytest.raises(BenchError, match="ulimit -Hn"):
        make_room(1_000)
