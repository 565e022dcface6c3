"""Frames and packets: what goes over a websocket is what RFC 6455 and Socket.IO say, and nothing else is taken."""

import asyncio

import msgspec
import pytest
from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketReader, WSMsgType
from hypothesis import given, strategies as st
from socketio.packet import Packet as LibraryPacket

from devconnect.settings import Settings, SettingsError
from web.freezing import Freezer
from web.realtime.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    close_frame,
    encode_ack,
    encode_event,
    text_frame,
    text_of,
)
from web.realtime.limits import SocketLimits
from web.realtime.packets import Packet
from web.realtime.reader import BrokenError, Reader

LIMIT = 70_000


def sent(payload: bytes, kind: int = TEXT, *, last: bool = True, mask: bytes = b"\1\2\3\4") -> bytes:
    """A frame as a client sends it."""
    size = len(payload)
    head = bytes(((0x80 if last else 0) | kind,))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 65_536:
        head += bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((0x80 | 127,)) + size.to_bytes(8, "big")
    masked = bytearray(payload)
    websocket_mask(mask, masked)
    return head + mask + bytes(masked)


def read(data: bytes, *, step: int | None = None, limit: int = LIMIT) -> list[tuple[int, bytes]]:
    """What a reader makes of bytes that come in steps of so many."""
    reader, found = Reader(limit), []
    for at in range(0, len(data), step or len(data)):
        reader.feed(data[at : at + (step or len(data))])
        while (message := reader.take()) is not None:
            found.append(message)
    return found


def test_an_event_is_what_the_librarys_client_reads() -> None:
    frame = encode_event("message", b'{"text":"\xc3\xa4"}', b"[1]")
    packet = LibraryPacket(encoded_packet=text_of(frame)[1:])
    assert (packet.packet_type, packet.data, packet.id) == (2, ["message", {"text": "ä"}, [1]], None)
    packet = LibraryPacket(encoded_packet=text_of(encode_ack(17, b'{"id":1}'))[1:])
    assert (packet.packet_type, packet.data, packet.id) == (3, [{"id": 1}], 17)
    assert text_of(encode_ack(0, None)) == "430[]"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
async def test_a_frame_is_what_aiohttps_client_reads(size: int) -> None:
    text = b"\xc3\xa4" * (size // 2) + b"a" * (size % 2)

    class Protocol:
        _reading_paused = False

        def pause_reading(self) -> None:
            """Nothing."""

    queue = WebSocketDataQueue(Protocol(), 2**16, loop=asyncio.get_running_loop())
    reader = WebSocketReader(queue, 0, compress=False, decode_text=True)
    frame = text_frame(text)
    reader.feed_data(frame + close_frame(1008, "enough"))
    assert text_of(frame) == text.decode()
    assert (await queue.read()).data == text.decode()
    closing = await queue.read()
    assert (closing.type, closing.data, closing.extra) == (WSMsgType.CLOSE, 1008, "enough")


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 3), st.booleans()), max_size=6),
    st.binary(min_size=4, max_size=4),
    st.integers(1, 400),
)
def test_messages_are_the_same_however_they_are_cut(
    messages: list[tuple[bytes, int, bool]], mask: bytes, step: int
) -> None:
    data, expected = b"", []
    for payload, cuts, pinged in messages:
        size = len(payload) // (cuts + 1) + 1
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts):
            data += sent(part, 0 if number else BINARY, last=number == len(parts) - 1, mask=mask)
            if pinged and number < len(parts) - 1:
                data += sent(b"p", PING)
                expected.append((PING, b"p"))
        expected.append((BINARY, payload))
    assert read(data, step=step) == expected


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (text_frame(b"not masked"), 1002),
        (b"\xc1" + sent(b"an extension")[1:], 1002),
        (sent(b"", 3), 1002),
        (sent(b"", 11), 1002),
        (sent(b"goes on", 0), 1002),
        (sent(b"a", last=False) + sent(b"b"), 1002),
        (sent(b"", PING, last=False), 1002),
        (sent(b"a" * 126, PING), 1002),
        (sent(b"a" * 101)[:8], 1009),
        (sent(b"a" * 60, last=False) + sent(b"a" * 41, 0)[:6], 1009),
        (b"\x81\xff" + b"\xff" * 8, 1009),
    ],
)
def test_what_is_no_websocket_is_refused_at_its_head(data: bytes, code: int) -> None:
    with pytest.raises(BrokenError) as error:
        read(data, limit=100)
    assert error.value.code == code


def test_the_largest_message_is_taken_whole_and_in_parts() -> None:
    assert read(sent(b"a" * 100), limit=100) == [(TEXT, b"a" * 100)]
    parts = sent(b"a" * 50, last=False) + sent(b"", CLOSE) + sent(b"a" * 50, 0)
    assert read(parts, limit=100) == [(CLOSE, b""), (TEXT, b"a" * 100)]


def test_what_nobody_takes_stays_where_it_is() -> None:
    reader = Reader(LIMIT)
    reader.feed(sent(b"1") + sent(b"2"))
    assert reader.take() == (TEXT, b"1")
    reader.feed(sent(b"3"))
    assert [reader.take(), reader.take(), reader.take()] == [(TEXT, b"2"), (TEXT, b"3"), None]


@pytest.mark.parametrize("text", ["2[NaN]", '2["\\ud800"]', "2[" * 30_000, '2["a"', "x", "", "2" + "1" * 101])
def test_a_packet_that_is_none_raises_what_is_caught(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        Packet(encoded_packet=text or "x")


def test_the_librarys_own_json_stays_as_it_is() -> None:
    assert Packet.json is not LibraryPacket.json
    assert Packet(packet_type=2, data=["a", {"b": 1.5}]).encode() == '2["a",{"b":1.5}]'
    assert issubclass(msgspec.DecodeError, ValueError)


def test_settings_of_sockets() -> None:
    env = {
        "SOCKET_TRANSPORTS": "websocket, polling",
        "SOCKET_PING_SECONDS": "10",
        "SOCKET_PING_TIMEOUT_SECONDS": "5",
        "SOCKET_MESSAGE_BYTES": "2048",
        "SOCKET_BUFFER_BYTES": "65536",
    }
    limits = SocketLimits.of(Settings.load(env))
    assert limits[:5] == (("websocket", "polling"), 10.0, 5.0, 2048, 65_536)
    assert SocketLimits.of(Settings.load({})) == SocketLimits()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOCKET_TRANSPORTS", "smoke"),
        ("SOCKET_TRANSPORTS", "polling,polling"),
        ("SOCKET_PING_SECONDS", "0"),
        ("SOCKET_MESSAGE_BYTES", "10"),
        ("SOCKET_BUFFER_BYTES", "10"),
    ],
)
def test_settings_of_sockets_that_are_none(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.load({name: value})


def test_the_collector_forgets_what_stays_whenever_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[None] = []
    monkeypatch.setattr("web.freezing.gc.freeze", lambda: frozen.append(None))
    counts = [0, 499, 500, 1124, 1125, 1126, 100, 1906, 1907]
    freezer = Freezer(iter(counts).__next__)
    assert [count for count in counts if freezer.look()] == [500, 1125, 1907]
    assert len(frozen) == 3
