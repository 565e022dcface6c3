"""Socket.IO: python-socketio's server, on our engine, with one namespace and no attachments."""

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from typing import Any, Protocol

import socketio
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as LibraryRefusal
from socketio.packet import ACK, CONNECT, DISCONNECT, EVENT

from devconnect.ports.metrics import SOCKETS_CLOSED, SOCKETS_OPENED, SOCKETS_REFUSED, Metrics
from web.realtime.engine import Engine
from web.realtime.engine_socket import EngineSocket
from web.realtime.frames import encode_ack
from web.realtime.limits import SocketLimits
from web.realtime.manager import Manager
from web.realtime.packets import Packet
from web.realtime.socket import Refused, Socket
from web.realtime.wire import VIOLATION

log = logging.getLogger("web.realtime")
#: The library's own: it tells of what clients do wrong, which they are told themselves.
_library_log = logging.getLogger("web.realtime.library")
_library_log.setLevel(logging.CRITICAL)

#: An acknowledgement's one argument as JSON, None for an empty one; or what gives it later.
Answer = bytes | None | Awaitable[bytes | None]


class Application(Protocol):
    """What is told of clients, and answers them."""

    async def on_connect(self, socket: Socket, auth: Any, request: web.Request) -> None:
        """A client wants in. Raises Refused. `auth` is what it gave as decoded JSON, of any type; None for nothing.

        Nothing may be sent yet. There is the rest of the handshake's time for it. If the client goes meanwhile,
        `on_disconnect` follows once this has returned.
        """

    async def on_ready(self, socket: Socket) -> None:
        """The client knows that it is connected; no event of it is handled before this has returned."""

    async def on_event(self, socket: Socket, name: str, args: list[Any]) -> Answer:
        """A client has sent an event; what it returns is acknowledged, if the client has asked for that.

        Called one after the other for each socket, in the order they came. To let the next one begin before the answer
        is known, return what gives it later: answers go out as they come. Never cancelled when the client goes.
        """

    def on_disconnect(self, socket: Socket, reason: str) -> None:
        """A client is gone: at once, and once for each whose `on_connect` has returned."""

    def may_go_on(self, socket: Socket) -> bool:
        """Whether one more message may be read: each that comes is asked for. If not, the socket is closed."""


class Server(socketio.AsyncServer):
    """Between the application and the engine."""

    def __init__(self, application: Application, limits: SocketLimits, metrics: Metrics) -> None:
        self._application, self._limits, self._metrics = application, limits, metrics
        super().__init__(
            client_manager=Manager(),
            serializer=Packet,
            async_handlers=False,
            logger=_library_log,
            engineio_logger=_library_log,
            owner=self,
            limits=limits,
            report=_report,
        )
        self.on("connect", self._let_in)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    async def receive(self, socket: EngineSocket, text: str) -> None:
        """A message of a client."""
        try:
            packet = Packet(encoded_packet=text)
        except (ValueError, RecursionError):
            socket.leave("malformed", VIOLATION)
            return
        kind = None if packet.attachment_count else packet.packet_type
        is_ours = packet.namespace in (None, "/")
        if kind == CONNECT:
            await self._handle_connect(socket.sid, packet.namespace, packet.data)
        elif kind == EVENT and _is_event(packet.data):
            if socket.client is not None and is_ours:
                await self._event(socket, packet)
        elif kind == DISCONNECT:
            if is_ours:
                socket.leave("client")
        elif kind != ACK:
            socket.leave("malformed", VIOLATION)

    def may_go_on(self, socket: EngineSocket) -> bool:
        """As the application says."""
        return self._application.may_go_on(socket.client)

    def gone(self, socket: EngineSocket, reason: str) -> None:
        """Tell of it, unless `on_connect` is still at it."""
        client = socket.client
        if client is not None and self.manager.is_connected(client.id, "/"):
            self._left(client, reason)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        socket: EngineSocket | None = self.eio.sockets.get(eio_sid)
        if socket is None:
            return
        known, self.environ[eio_sid] = socket.client, socket.request
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        finally:
            self.environ.pop(eio_sid, None)
        client = socket.client
        if client is None or client is known:
            return
        self._metrics.count(SOCKETS_OPENED)
        if socket.closed:
            self._left(client, socket.reason)
            return
        socket.let_in()
        try:
            await self._application.on_ready(client)
        except Exception as exc:
            _report(exc)
            client.close("failed")

    async def _let_in(self, sid: str, request: web.Request, auth: Any) -> None:
        try:
            async with asyncio.timeout(self._limits.handshake):
                await self._application.on_connect(self.manager.waiting[sid], auth, request)
            return
        except Refused as exc:
            refused = exc
        except TimeoutError:
            refused = Refused("timed_out", "This took too long: try again in a moment.")
        except asyncio.CancelledError:
            refused = Refused("too_busy", "This gateway is on its way out: try again in a moment.")
        except Exception as exc:
            _report(exc)
            refused = Refused("internal_error", "This is our mistake: try again in a moment.")
        self._metrics.count(SOCKETS_REFUSED, refused.code)
        raise LibraryRefusal(refused.detail, {"code": refused.code, "detail": refused.detail})

    async def _event(self, socket: EngineSocket, packet: Any) -> None:
        try:
            answer = await self._application.on_event(socket.client, packet.data[0], packet.data[1:])
        except Exception as exc:
            _report(exc)
            return
        then = partial(_acknowledge, socket, packet.id)
        if answer is None or isinstance(answer, bytes):
            then(answer)
        else:
            socket.answer_later(answer, then)

    def _left(self, client: Socket, reason: str) -> None:
        self.manager.clients.pop(client.id, None)
        client.forget()
        self._metrics.count(SOCKETS_CLOSED, reason)
        try:
            self._application.on_disconnect(client, reason)
        except Exception as exc:
            _report(exc)


def _is_event(data: Any) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], str)


def _acknowledge(socket: EngineSocket, number: int | None, answer: bytes | None) -> None:
    if number is not None:
        socket.put(encode_ack(number, answer))


def _report(exc: Exception) -> None:
    log.error("a socket's event came to an end that nobody expected", exc_info=exc)
