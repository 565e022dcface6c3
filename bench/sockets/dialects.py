"""What each server is spoken to with, beneath the same words: {"to": user or room, "body": {...}}."""

from typing import NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec


class DialectError(ValueError):
    """A server has said what isn't in its protocol, or has refused."""


class Heard(NamedTuple):
    """What follows from a control message: what to answer, and whether the connection can be used now."""

    answer: bytes | None = None
    ready: bool = False


class Dialect(Protocol):
    """One protocol over a websocket."""

    def target(self, user: str, room: str) -> str:
        """Where to connect to."""

    def opening(self, user: str, room: str) -> Heard:
        """What the client begins with when the websocket is open."""

    def control(self, text: bytes, user: str, room: str) -> Heard:
        """What follows from a message that carries nothing for people; DialectError when it must not be."""

    def say(self, words: bytes) -> bytes:
        """How the words (JSON) are sent, wanting no acknowledgement."""


class Bare:
    """JSON, as it is."""

    def target(self, user: str, room: str) -> str:
        return f"/ws?{urlencode({'user': user, 'room': room})}"

    def opening(self, user: str, room: str) -> Heard:
        return Heard(ready=True)

    def control(self, text: bytes, user: str, room: str) -> Heard:
        raise DialectError(f"this is no message: {text[:60]!r}")

    def say(self, words: bytes) -> bytes:
        return words


class SocketIO:
    """Socket.IO 5 over Engine.IO 4, as the official clients speak it with `transports: ["websocket"]`."""

    def target(self, user: str, room: str) -> str:
        return "/socket.io/?EIO=4&transport=websocket"

    def opening(self, user: str, room: str) -> Heard:
        return Heard()

    def control(self, text: bytes, user: str, room: str) -> Heard:
        if text == b"2":
            return Heard(b"3")
        if text.startswith(b"0{"):
            return Heard(b"40" + msgspec.json.encode({"user": user, "room": room}))
        if text.startswith(b"40"):
            return Heard(ready=True)
        raise DialectError(f"this is no message: {text[:60]!r}")

    def say(self, words: bytes) -> bytes:
        return b'42["say",' + words + b"]"


class Centrifuge:
    """Centrifuge's client protocol, JSON; a frame may hold several messages, a line each."""

    def target(self, user: str, room: str) -> str:
        return "/connection/websocket"

    def opening(self, user: str, room: str) -> Heard:
        return Heard(msgspec.json.encode({"id": 1, "connect": {"data": {"user": user, "room": room}}}))

    def control(self, text: bytes, user: str, room: str) -> Heard:
        if text == b"{}":
            return Heard(b"{}")
        if text.startswith(b'{"id":1,"connect"'):
            return Heard(ready=True)
        raise DialectError(f"this is no message: {text[:60]!r}")

    def say(self, words: bytes) -> bytes:
        return b'{"send":{"data":' + words + b"}}"


DIALECTS: dict[str, Dialect] = {"bare": Bare(), "socketio": SocketIO(), "centrifuge": Centrifuge()}
