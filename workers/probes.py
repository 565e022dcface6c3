"""What a worker serves over HTTP: its metrics, whether it lives, and whether it is ready. Nothing else."""

from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from devconnect.adapters.prometheus import CONTENT_TYPE, PrometheusMetrics

#: Names what is asked about, with None where it is well and the trouble where it isn't.
Check = Callable[[], Mapping[str, str | None]]


class Probes:
    """A small web server on a port of its own."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: PrometheusMetrics,
        refresh: Callable[[], None],
        live: Check,
        ready: Check,
    ) -> None:
        self._host, self._port = host, port
        self._metrics = metrics
        self._refresh = refresh
        self._live = live
        self._ready = ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve; OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._expose)
        app.router.add_get("/health/live", lambda request: _report(self._live()))
        app.router.add_get("/health/ready", lambda request: _report(self._ready()))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _expose(self, request: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=self._metrics.expose(), headers={"Content-Type": CONTENT_TYPE})


async def _report(checks: Mapping[str, str | None]) -> web.Response:
    well = not any(checks.values())
    body = {"status": "ok" if well else "unavailable", "checks": {name: why or "ok" for name, why in checks.items()}}
    return web.Response(body=msgspec.json.encode(body), status=200 if well else 503, content_type="application/json")
