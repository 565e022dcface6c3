"""A websocket on the transport of an HTTP connection, which it takes over: no task, no queue, no timer of its own."""

import asyncio
import base64
import binascii
import hashlib
from typing import Any, Protocol

from aiohttp import hdrs, web
from aiohttp.http import WS_KEY

from web.realtime.frames import CLOSE, PING, PONG, TEXT, Frame, close_frame, pong_frame
from web.realtime.reader import BrokenError, Reader

#: Seconds that a client has to answer our close frame. Closing at once, on bytes that are unread, would take away from
#: it what was sent last.
LINGER = 2.0
#: Above this share of what may wait, a client counts as behind: `flush` waits until half of that is gone.
_BEHIND = 4
#: Close codes.
GOING, UNSUPPORTED, INVALID, VIOLATION, FAILED, RESTART = 1001, 1003, 1007, 1008, 1011, 1012


class End(Protocol):
    """Who is behind a wire."""

    def came(self, text: str) -> None:
        """A text has come."""

    def may_go_on(self) -> bool:
        """Whether one more message may be read at all; if not, this has seen to the end."""

    def leave(self, reason: str, code: int) -> None:
        """End it in good order: what came is nothing that is taken."""

    def slow(self) -> None:
        """More waits to be sent than may."""

    def lost(self, reason: str) -> None:
        """The connection is over."""


class Wire(asyncio.Protocol):
    """One websocket. aiohttp's server keeps it among its connections."""

    __slots__ = ("_buffer", "_end", "_flushed", "_held", "_reader", "_server", "behind", "transport")

    def __init__(self, end: End, transport: asyncio.Transport, server: Any, *, message: int, buffer: int) -> None:
        self._end: End | None = end
        self.transport = transport
        self._server, self._buffer = server, buffer
        self._reader: Reader | None = Reader(message)
        self._held = False
        #: Whether much waits to be sent.
        self.behind = False
        self._flushed: asyncio.Future[None] | None = None

    @classmethod
    def take_over(cls, request: web.Request, end: End, *, message: int, buffer: int) -> "Wire":
        """Answer an upgrade, and have the connection from now on. Raises HTTPBadRequest for what is no upgrade.

        `message` and `buffer` are the bytes that a message may have, and that may wait to be sent.
        """
        connection: Any = request.protocol
        transport, server = connection.transport, connection._manager
        if transport is None:
            raise ConnectionResetError("the client is gone")
        head = _answer(request)
        wire = cls(end, transport, server, message=message, buffer=buffer)
        transport.set_write_buffer_limits(high=buffer // _BEHIND, low=buffer // _BEHIND // 2)
        transport.set_protocol(wire)
        early, connection._message_tail = connection._message_tail, b""
        # For aiohttp this connection is over; the transport, which it would close, it has no more.
        connection.transport = None
        connection.connection_lost(None)
        server._connections[wire] = transport
        transport.resume_reading()
        transport.write(head)
        if early:
            asyncio.get_running_loop().call_soon(wire.data_received, early)
        return wire

    def send(self, frame: Frame) -> None:
        """Write; a client that is too far behind is told of to its end."""
        self.transport.write(frame)
        if self.behind and self.transport.get_write_buffer_size() > self._buffer and self._end is not None:
            self._end.slow()

    def belongs_to(self, end: End) -> bool:
        """Whether this is who is behind it."""
        return self._end is end

    def hand_to(self, end: End) -> None:
        """Let somebody else be behind it."""
        self._end = end

    async def flush(self) -> None:
        """Wait until the client is no longer behind, or gone."""
        await asyncio.sleep(0)
        while self.behind:
            if self._flushed is None:
                self._flushed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._flushed)

    def hold(self) -> None:
        """Read no more for now."""
        if not self._held and self._reader is not None:
            self._held = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again, and first what has come already."""
        if self._held and self._reader is not None:
            self._held = False
            self.data_received(b"")
            if not self._held and not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def held(self) -> bool:
        """Whether it is us who don't read."""
        return self._held

    def finish(self, code: int, reason: str) -> None:
        """Say that this is the end, and wait a little for the client to have heard it. No more is taken from it."""
        self._end = None
        self.transport.write(close_frame(code, reason))
        if self._held and not self.transport.is_closing():
            self._held = False
            self.transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER, self.transport.abort)

    def drop(self) -> None:
        """End it at once, whatever waits."""
        self._end = None
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take messages as long as somebody wants them."""
        reader = self._reader
        if reader is None:
            return
        if data:
            reader.feed(data)
        try:
            while not self._held and (message := reader.take()) is not None:
                self._took(*message)
                if self._reader is None:
                    return
        except BrokenError as error:
            self._broken(error.reason if error.reason == "too_large" else "malformed", error.code)

    def _took(self, kind: int, payload: bytes) -> None:
        end = self._end
        if kind == CLOSE:
            self._reader = None
            if end is not None:
                self.transport.write(close_frame(1000, ""))
                asyncio.get_running_loop().call_later(LINGER, self.transport.abort)
                self._end = None
                end.lost("client")
            self.transport.close()
        elif end is None or not end.may_go_on():
            return
        elif kind == TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                self._broken("malformed", INVALID)
                return
            end.came(text)
        elif kind == PING:
            self.send(pong_frame(payload))
        elif kind != PONG:  # which some send unasked, to stay connected
            self._broken("malformed", UNSUPPORTED)

    def _broken(self, reason: str, code: int) -> None:
        if self._end is not None:
            self._end.leave(reason, code)
        else:
            self.transport.abort()
        self._reader = None

    def pause_writing(self) -> None:
        """Much waits to be sent."""
        self.behind = True

    def resume_writing(self) -> None:
        """Not much waits any more."""
        self.behind = False
        if self._flushed is not None and not self._flushed.done():
            self._flushed.set_result(None)
        self._flushed = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, for whatever reason."""
        self.resume_writing()
        self._server._connections.pop(self, None)
        self._reader = None
        end, self._end = self._end, None
        if end is not None:
            end.lost("lost")

    # What aiohttp's server and ours ask of a connection.

    def look(self, now: float, transport: asyncio.Transport) -> None:
        """Nothing: time is taken by the engine."""

    def leave(self, now: float, quiet: float) -> None:
        """Nothing: sockets are let go by `Sockets.drain`."""

    def close(self) -> None:
        """The server is about to end all."""

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (aiohttp's own)
        """End it."""
        self.transport.abort()


def _answer(request: web.Request) -> bytes:
    """The head that says yes. No extension: compressing would cost 90 KB a socket."""
    headers = request.headers
    key = headers.get(hdrs.SEC_WEBSOCKET_KEY, "")
    try:
        known = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        known = False
    is_upgrade = headers.get(hdrs.UPGRADE, "").lower() == "websocket" and request._message.upgrade
    if not known or not is_upgrade or request.can_read_body or headers.get(hdrs.SEC_WEBSOCKET_VERSION) != "13":
        raise web.HTTPBadRequest
    accepted = base64.b64encode(hashlib.sha1(key.encode() + WS_KEY, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accepted
        + b"\r\n\r\n"
    )


class Switched(web.StreamResponse):
    """What a handler returns whose connection is a websocket now: nothing is left to send."""

    def __init__(self) -> None:
        super().__init__(status=101)

    @property
    def prepared(self) -> bool:
        """It is sent."""
        return True

    @property
    def keep_alive(self) -> bool:
        """No request follows."""
        return False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing."""
