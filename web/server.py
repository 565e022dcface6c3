"""The HTTP server: aiohttp's, with its connections limited, looked at, and let go one by one."""

import asyncio
from typing import Any

from aiohttp import web

from web.bounds import FIELD_MAX, HEADERS_MAX, LINE_MAX, LINGER, Limits
from web.connection import Connection
from web.edge import answer_outside
from web.gateway import GATEWAY
from web.life import LIFE, Life

#: Connections that are told at once that they are too many; more are just closed.
EXPLAINED = 256
#: Looks of a sweep: each takes its share of the connections.
SHARES = 10
#: Seconds without a request after which a connection counts as at rest when the gateway stops.
QUIET = 1.0


class GatewayServer(web.Server):
    """Makes the connections, looks at them, and lets them go."""

    def __init__(self, base: web.Server, *, app: web.Application, limits: Limits, **kwargs: Any) -> None:
        if app.on_response_prepare:
            raise RuntimeError("answers go out by a way that knows no on_response_prepare (web/sending.py)")
        super().__init__(base.request_handler, request_factory=base.request_factory, **kwargs)
        self.limits = limits
        self.life: Life = app[LIFE]
        self._parts = app[GATEWAY].parts
        #: The loop's time as of the last look, which is close enough.
        self.now = self._loop.time()
        self._explaining = 0
        self._waiting: list[Connection] = []
        self._share = 0
        self._timer = self._loop.call_later(self.limits.sweep / SHARES, self._look)

    def __call__(self) -> Connection:
        """A connection that is to be."""
        return Connection(self, loop=self._loop, **self._kwargs)

    @property
    def is_full(self) -> bool:
        """Whether one more connection would be too many."""
        return len(self._connections) >= self.limits.connections

    def may_explain(self) -> bool:
        """Whether one that is too many may be told so; `explained` follows."""
        self._explaining += 1
        return self._explaining <= EXPLAINED

    def explained(self) -> None:
        """One that was too many is gone."""
        self._explaining -= 1

    def answer(self, request: web.BaseRequest, exc: Exception) -> web.Response:
        """The answer to what failed outside the application's own middleware."""
        return answer_outside(request, exc, self._parts.metrics)

    def _look(self) -> None:
        """Look at a share of the connections, and come back."""
        self.now = self._loop.time()
        self._timer = self._loop.call_later(self.limits.sweep / SHARES, self._look)
        if not self._waiting:
            self._waiting = list(self._connections)  # type: ignore[arg-type] # all are made by __call__
            self._share = -(-len(self._waiting) // SHARES)
        for _ in range(min(self._share, len(self._waiting))):
            connection = self._waiting.pop()
            transport = self._connections.get(connection)
            if transport is not None:
                connection.look(self.now, transport)

    async def drain(self, seconds: float) -> int:
        """Let every connection go; how many are left after so many seconds."""
        quiet, deadline = min(QUIET, seconds / 2), self._loop.time() + seconds
        while self._connections and self._loop.time() < deadline:
            for connection in list(self._connections):
                connection.leave(self._loop.time(), quiet)  # type: ignore[attr-defined] # made by __call__
            await asyncio.sleep(0.02)
        return len(self._connections)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (aiohttp's own)
        """End what is left."""
        self._timer.cancel()
        await super().shutdown(timeout)


class GatewayRunner(web.AppRunner):
    """Runs the application behind a GatewayServer."""

    def __init__(self, app: web.Application, *, limits: Limits, **kwargs: Any) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=limits.idle,
            max_line_size=LINE_MAX,
            max_field_size=FIELD_MAX,
            max_headers=HEADERS_MAX,
            lingering_time=LINGER,
            **kwargs,
        )
        self._limits = limits

    async def _make_server(self) -> web.Server:
        base = await super()._make_server()
        return GatewayServer(base, app=self.app, limits=self._limits, loop=base._loop, **base._kwargs)

    @property
    def gateway(self) -> GatewayServer:
        """The server, once it is set up."""
        if not isinstance(self.server, GatewayServer):
            raise RuntimeError("not set up")
        return self.server
