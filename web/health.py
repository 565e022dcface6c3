"""For Prometheus and for whoever restarts processes; and what to say to somebody who knocks at the root."""

import asyncio
from typing import Any

from aiohttp import web

from devconnect import __version__
from devconnect.ports.truth import UnavailableError
from web.exposition import merge
from web.gateway import GATEWAY, Check
from web.life import LIFE
from web.views import json_response

#: Seconds that a part has to say that it works.
CHECK_SECONDS = 1.5
#: Parts without which the gateway still does all that it must, only slower.
DISPENSABLE = frozenset(("redis",))


async def root(_: web.Request) -> web.Response:
    """What this is, and where to go."""
    return json_response(
        {
            "name": "DevConnect gateway",
            "version": __version__,
            "api": "/v1",
            "docs": "/docs",
            "openapi": "/v1/openapi.json",
            "asyncapi": "/v1/asyncapi.json",
            "problems": "/problems",
            "health": {"live": "/health/live", "ready": "/health/ready"},
            "metrics": "/metrics",
        }
    )


async def live(_: web.Request) -> web.Response:
    """200 as long as the event loop turns."""
    return json_response({"live": True})


async def ready(request: web.Request) -> web.Response:
    """200 or 503, and each part: "ok", or why not; of several processes on this port, how many serve."""
    life = request.app[LIFE]
    if life.draining:
        return json_response({"ready": False, "status": "stopping", "parts": {"gateway": "it stops"}}, 503)
    checks = request.app[GATEWAY].parts.checks
    troubles = await asyncio.gather(*(_look(check) for check in checks.values()))
    parts = {name: trouble or "ok" for name, trouble in zip(checks, troubles, strict=True)}
    broken = {name for name, state in parts.items() if state != "ok"}
    is_ready = broken <= DISPENSABLE
    status = "not ready" if not is_ready else "degraded" if broken else "ready"
    found: dict[str, Any] = {"ready": is_ready, "status": status, "parts": parts}
    if life.processes > 1:
        found["processes"] = {"number": life.number, "serving": life.serving, "of": life.processes}
    return json_response(found, 200 if is_ready else 503)


async def _look(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return "no answer in time"
    except UnavailableError:
        return "not reachable"
    except Exception as exc:
        return f"not reachable: {type(exc).__name__}"


async def metrics(request: web.Request) -> web.Response:
    """What Prometheus scrapes: of all processes on this port, whichever of them is asked."""
    content_type, text = request.app[GATEWAY].parts.scrape()
    life = request.app[LIFE]
    if life.processes > 1:
        text = merge({str(life.number): text, **await life.others()})
    return web.Response(body=text, headers={"Content-Type": content_type})


def routes() -> list[web.RouteDef]:
    """The pages outside /v1."""
    return [
        web.get("/", root),
        web.get("/health/live", live),
        web.get("/health/ready", ready),
        web.get("/metrics", metrics),
    ]
