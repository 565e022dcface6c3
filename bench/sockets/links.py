"""One connection of the generator."""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from bench.sockets import wire
from bench.sockets.dialects import Dialect

#: Connections from one address to one port, of the about 28,000 that systems allow; more come from 127.0.0.2 and so on.
AN_ADDRESS = 20_000
#: What every message for people carries, before sixteen characters of its own.
MARK = b'"mark":"'
#: Close with a reset: the port is free at once, for the next load.
_ABRUPT = struct.pack("ii", 1, 0)


class LinkError(Exception):
    """A connection was lost, or refused."""


class Link:
    """A client: `heard` is called with each message for people, and how many are in it."""

    __slots__ = (
        "_deflate",
        "_dialect",
        "_opened",
        "_reader",
        "heard",
        "pings",
        "port",
        "ready",
        "room",
        "sock",
        "user",
    )

    def __init__(self, number: int, port: int, dialect: Dialect, room: str, *, deflate: bool) -> None:
        self.user, self.room, self.port = f"u{number}", room, port
        self._dialect, self._deflate = dialect, deflate
        self._reader = wire.Reader()
        self._opened = self.ready = False
        self.pings = 0
        self.heard: Callable[[Link, bytes, int], None] = _nobody
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
        if number >= AN_ADDRESS:
            self.sock.bind((f"127.0.0.{1 + number // AN_ADDRESS}", 0))
        with suppress(BlockingIOError):
            self.sock.connect(("127.0.0.1", port))

    def connected(self) -> None:
        """The connection is there, or has failed: ask for the websocket."""
        if error := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise LinkError(f"no connection (error {error})")
        target = self._dialect.target(self.user, self.room)
        self.sock.send(wire.handshake(self.port, target, deflate=self._deflate))

    def say(self, words: bytes) -> None:
        """Send words (JSON)."""
        self._send(self._dialect.say(words))

    def _send(self, text: bytes, opcode: int = wire.TEXT) -> None:
        try:
            self.sock.send(wire.frame(text, opcode))
        except OSError as error:
            raise LinkError(f"nothing can be sent ({error.strerror})") from None

    def readable(self) -> None:
        """Take what has come."""
        try:
            data = self.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            raise LinkError(f"a connection was lost ({error.strerror})") from None
        if not data:
            raise LinkError("the server has closed a connection")
        if not self._opened:
            if not self._reader.answered(data):
                return
            self._opened, data = True, b""
            self._follow(*self._dialect.opening(self.user, self.room))
        for opcode, payload in self._reader.messages(data):
            if opcode != wire.TEXT:
                self._other(opcode, payload)
            elif count := payload.count(MARK):
                self.heard(self, payload, count)
            else:
                self._follow(*self._dialect.control(payload, self.user, self.room))

    def _follow(self, answer: bytes | None, ready: bool) -> None:
        if ready:
            self.ready = True
        if answer is not None:
            self.pings += self.ready
            self._send(answer)

    def _other(self, opcode: int, payload: bytes) -> None:
        if opcode != wire.PING:
            raise LinkError(f"the server has sent a frame of kind {opcode} {payload[2:60]!r}")
        self.pings += 1
        self._send(payload, wire.PONG)


def _nobody(link: Link, text: bytes, count: int) -> None:
    raise LinkError(f"{link.user} got a message that nobody has sent")
