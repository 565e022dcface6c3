"""Sockets and all that is behind them, put together for an application and started with it."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from web.cors import from_our_pages
from web.gateway import GATEWAY, Gateway
from web.life import LIFE
from web.realtime.application import Realtime
from web.realtime.guests import Guests
from web.realtime.hub import Hub
from web.realtime.limits import SocketLimits
from web.realtime.ports import RealtimePorts
from web.realtime.sockets import SOCKETS, Sockets


def open_sockets(app: web.Application, ports: RealtimePorts) -> list[web.RouteDef]:
    """Have sockets served by the application, which has its gateway already; the routes to them."""
    gateway = app[GATEWAY]
    parts = gateway.parts
    hub = Hub(ports.inbox, ports.live, freshness=parts.freshness, clock=parts.clock, metrics=parts.metrics)
    guests = Guests(
        gateway.gate,
        hub,
        roster=ports.roster,
        watching=ports.watching,
        ends=parts.ends,
        clock=parts.clock,
        life=app[LIFE],
        grace=parts.settings.presence_grace,
    )
    sockets = app[SOCKETS] = _sockets(gateway, guests, ports)

    async def running(_: web.Application) -> AsyncIterator[None]:
        hub.start()
        guests.start()
        sockets.start()
        yield
        await sockets.stop()
        await guests.stop()
        await hub.stop()

    app.cleanup_ctx.append(running)
    return sockets.routes()


def _sockets(gateway: Gateway, guests: Guests, ports: RealtimePorts) -> Sockets:
    settings = gateway.parts.settings
    return Sockets(
        Realtime(gateway, guests, live=ports.live, focus=ports.focus, now=lambda: asyncio.get_running_loop().time()),
        limits=SocketLimits.of(settings),
        metrics=gateway.parts.metrics,
        origins=lambda request: from_our_pages(request, settings),
    )
