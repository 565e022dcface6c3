"""Engine.IO: python-engineio's server, with what each connection costs taken out of it.

The library's has a queue, a writer, a reader with a timer and a ping task for each connection. Here bytes are written
where they come up, a task is there only while an event is handled, and one sweep sends all pings.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import engineio
from engineio.packet import OPEN, Packet

from web.problems import ProblemError, problem_response
from web.realtime.engine_socket import EngineSocket
from web.realtime.limits import SocketLimits
from web.realtime.wire import GOING, Switched, Wire

#: Looks of a sweep: each takes its share of the sockets.
SHARES = 10


class Owner(Protocol):
    """Who speaks Socket.IO over the engine's sockets."""

    async def receive(self, socket: "EngineSocket", text: str) -> None:
        """A message has come: one after the other for each socket. What it raises ends it."""

    def may_go_on(self, socket: "EngineSocket") -> bool:
        """Whether a socket that is let in may have one more message read."""

    def gone(self, socket: "EngineSocket", reason: str) -> None:
        """A socket is over."""


class Engine(engineio.AsyncServer):
    """The server: opens sockets, and looks at them. `handle_request` is the library's."""

    def __init__(self, *, owner: Owner, limits: SocketLimits, report: Callable[[Exception], None], **kwargs: Any):
        super().__init__(
            async_mode="aiohttp",
            transports=list(limits.transports),
            ping_interval=limits.ping,
            ping_timeout=limits.ping_timeout,
            max_http_buffer_size=limits.message,
            http_compression=False,
            cors_allowed_origins=[],
            monitor_clients=False,
            **kwargs,
        )
        self.owner, self.limits, self.report = owner, limits, report
        self.sockets: dict[str, EngineSocket] = {}
        #: Answers that are under way.
        self.tasks: set[asyncio.Future[None]] = set()
        #: Whether nobody new is taken.
        self.is_closed = False
        #: The loop's time as of the last look, which is close enough.
        self.now = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._looking: list[EngineSocket] = []
        self._share = 0

    def start(self) -> None:
        """Look at the sockets from now on."""
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self._timer = loop.call_later(self.limits.sweep / SHARES, self._look)

    def stop(self) -> None:
        """End all that is left."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for socket in list(self.sockets.values()):
            socket.leave("stopped", GOING)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self._timer = loop.call_later(self.limits.sweep / SHARES, self._look)
        if not self._looking:
            self._looking = list(self.sockets.values())
            self._share = -(-len(self._looking) // SHARES)
        for _ in range(min(self._share, len(self._looking))):
            socket = self._looking.pop()
            if not socket.closed:
                socket.look(self.now)

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:
        if self.is_closed:
            raise ProblemError("too_busy", "This gateway is on its way out: try again in a moment.")
        request = environ["aiohttp.request"]
        socket = EngineSocket(self, self.generate_id(), request)
        if transport == "websocket":
            wire = Wire.take_over(request, socket, message=self.limits.message, buffer=self.limits.buffer)
            socket.connected = socket.upgraded = True
            socket.wire = wire
        else:
            socket.connected, socket.queue = True, asyncio.Queue()
        self.sockets[socket.sid] = socket
        await socket.send(self._opening(socket.sid, transport))
        return Switched() if socket.upgraded else self._ok(await socket.poll(), jsonp_index=jsonp_index)

    def _opening(self, sid: str, transport: str) -> Packet:
        limits = self.limits
        said = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport) if "websocket" in limits.transports else [],
            "pingInterval": int(limits.ping * 1000),
            "pingTimeout": int(limits.ping_timeout * 1000),
            "maxPayload": limits.message,
        }
        return Packet(OPEN, said)

    async def _make_response(self, response_dict: dict[str, Any], environ: dict[str, Any]) -> Any:
        if int(response_dict["status"].split()[0]) < 400:
            return await super()._make_response(response_dict, environ)
        return problem_response(
            ProblemError(
                "malformed_request",
                f"Connect anew, by Socket.IO's {' or '.join(self.limits.transports)}: this is nothing that is taken.",
            )
        )

    def _log_error_once(self, message: str, message_key: str) -> None:
        """Nothing: what a client does wrong, it is told."""
