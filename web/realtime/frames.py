"""Frames: what goes over a websocket, as the bytes that go. Made once, sent to any number of clients."""

from functools import lru_cache
from typing import NewType

import msgspec

#: The bytes of one frame on the wire. A server doesn't mask, so they are the same for all who get it.
Frame = NewType("Frame", bytes)

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_FINAL = 0x80
_CLOSE_REASON_MAX = 123


def encode_event(name: str, *args: bytes) -> Frame:
    """An event and its arguments, each of them JSON already."""
    return text_frame(b"42[" + b",".join((_json(name), *args)) + b"]")


def encode_ack(number: int, answer: bytes | None) -> Frame:
    """The acknowledgement of an event with this number: with one argument, which is JSON already, or with none."""
    return text_frame(b"43%d[%b]" % (number, answer or b""))


def text_frame(text: bytes) -> Frame:
    """One frame of UTF-8."""
    return _frame(TEXT, text)


def pong_frame(payload: bytes) -> Frame:
    """The answer to a ping of the websocket's own."""
    return _frame(PONG, payload)


def close_frame(code: int, reason: str) -> Frame:
    """The last frame; `reason` is cut to what there is room for."""
    return _frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[:_CLOSE_REASON_MAX])


def text_of(frame: Frame) -> str:
    """The text of a frame, for who doesn't get it by websocket."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :].decode()


def _frame(kind: int, payload: bytes) -> Frame:
    size = len(payload)
    if size < 126:
        head = bytes((_FINAL | kind, size))
    elif size < 65_536:
        head = bytes((_FINAL | kind, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | kind, 127)) + size.to_bytes(8, "big")
    return Frame(head + payload)


@lru_cache(256)
def _json(name: str) -> bytes:
    return msgspec.json.encode(name)


#: Engine.IO's ping, which a client must answer.
HEARTBEAT = text_frame(b"2")
