"""`python -m web` with a world in memory behind it: all of a gateway's processes, and none of its stores."""

import asyncio
import os
from dataclasses import replace

from aiohttp import web

from devconnect.adapters.prometheus import CONTENT_TYPE, PrometheusMetrics
from devconnect.settings import Settings
from tests.unit.web_house import gateway
from web import supervisor
from web.__main__ import main
from web.app import create_app
from web.edge import Edge
from web.gateway import Parts


async def parts() -> Parts:
    """What a gateway on fakes is made of."""
    async with gateway() as house:
        return house.parts


async def pid(_: web.Request) -> web.Response:
    """Which process this is."""
    return web.json_response(os.getpid())


async def sleep(request: web.Request) -> web.Response:
    """Takes its time."""
    await asyncio.sleep(float(request.query["seconds"]))
    return web.json_response({"slept": True})


def make_app(settings: Settings) -> web.Application:
    """The application, with pages to try its processes by."""
    if (settings.data_dir / "broken").exists():
        raise OSError("broken")
    metrics = PrometheusMetrics()

    def scrape() -> tuple[str, bytes]:
        return CONTENT_TYPE, metrics.expose()

    app = create_app(replace(PARTS, settings=settings, metrics=metrics, scrape=scrape))
    routes = [web.get("/pid", pid), web.post("/sleep", sleep), web.get("/sleep", sleep)]
    app.add_routes(Edge(settings, metrics).around(routes)[:-1])
    return app


if __name__ == "__main__":
    PARTS = asyncio.run(parts())
    # A process that stands still is found out while the test still waits.
    supervisor.SILENT = 4.0
    main(make_app, [__file__])
