"""All sockets of this process: the way in for the application and for whoever runs it."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator

from aiohttp import web

from devconnect.ports.metrics import Metrics
from web.bounds import ALLOWANCE
from web.problems import ProblemError
from web.realtime.frames import Frame
from web.realtime.limits import SocketLimits
from web.realtime.server import Answer, Application, Server
from web.realtime.socket import Refused, Socket
from web.realtime.wire import RESTART

__all__ = ["PATH", "SOCKETS", "Answer", "Application", "Refused", "Socket", "SocketLimits", "Sockets"]

PATH = "/socket.io/"
#: The part of a drain's time over which clients are sent away; the rest is for those who have something under way.
_SPREAD = 0.75
#: Sockets that are told something before others have their turn.
_AT_ONCE = 200


class Sockets:
    """Takes clients, and has them told things."""

    def __init__(
        self,
        application: Application,
        *,
        limits: SocketLimits,
        metrics: Metrics,
        origins: Callable[[web.Request], bool],
    ) -> None:
        """`origins` says whether a request with an Origin comes from a page that may."""
        self._limits, self._origins = limits, origins
        self._server = Server(application, limits, metrics)
        self._clients: dict[str, Socket] = self._server.manager.clients

    def __len__(self) -> int:
        """Clients that are connected."""
        return len(self._clients)

    def __iter__(self) -> Iterator[Socket]:
        """Those who are, as of now."""
        return iter(list(self._clients.values()))

    def routes(self) -> list[web.RouteDef]:
        """Where clients come in."""
        found = [web.get(PATH, self._serve, allow_head=False)]
        return [*found, web.post(PATH, self._serve)] if "polling" in self._limits.transports else found

    def start(self) -> None:
        """Ping from now on. Needs a running loop."""
        self._server.eio.start()

    async def stop(self) -> None:
        """End all that is left."""
        self._server.eio.stop()
        tasks = list(self._server.eio.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def send(recipients: Iterable[Socket], frame: Frame) -> None:
        """One frame to many."""
        for socket in recipients:
            socket.send(frame)

    async def drain(self, seconds: float) -> None:
        """Send everybody away within so many seconds.

        Each client is told at once when its connection will end (`reconnect` with `after_ms`), at random over most of
        the time, so that they don't all come back at once. Then what is under way is acknowledged, and it is closed.
        """
        self._server.eio.is_closed = True
        loop = asyncio.get_running_loop()
        began, end = loop.time(), loop.time() + seconds
        leaving = []
        for number, socket in enumerate(self):
            after = random.uniform(0, seconds * _SPREAD)  # noqa: S311 (no secret)
            leaving.append((began + after, number, socket))
            socket.emit("reconnect", b'{"after_ms":%d}' % (after * 1000))
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        for when, number, socket in sorted(leaving):
            if when > loop.time() or number % _AT_ONCE == 0:
                await asyncio.sleep(max(0.0, when - loop.time()))
            socket.leave_when_idle()
        while self._server.eio.sockets and loop.time() < end:  # noqa: ASYNC110 (or until then)
            await asyncio.sleep(0.02)
        for left in list(self._server.eio.sockets.values()):
            left.leave("draining", RESTART)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers and not self._origins(request):
            raise ProblemError("origin_not_allowed", "Only pages of this service may open a socket from a browser.")
        # A poll waits until there is something, which a ping is.
        request[ALLOWANCE] = self._limits.ping + self._limits.ping_timeout
        response: web.StreamResponse = await self._server.handle_request(request)
        return response


SOCKETS: web.AppKey[Sockets] = web.AppKey("sockets", Sockets)
