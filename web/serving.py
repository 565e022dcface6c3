"""One gateway process from its start to its end: listening, serving, and letting go of everybody in good order."""

import asyncio
import gc
import logging
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from aiohttp import web

from devconnect.settings import Settings
from web.bounds import Limits
from web.channel import Siblings
from web.freezing import Freezer
from web.gateway import GATEWAY
from web.life import LIFE
from web.listening import BACKLOG, let_in_the_last
from web.realtime.sockets import SOCKETS
from web.server import GatewayRunner

log = logging.getLogger("web")

#: Seconds that requests which are cut off have to take note of it.
CUT_SECONDS = 0.5
#: Objects after which the collector looks for cycles, and how many of its looks go before a longer one. A request
#: leaves none behind, but those under way together are more than Python's 700.
GC = (20_000, 20, 50)
#: Files that are no connections of clients.
OTHER_FILES = 256


#: Makes the application.
MakeApp = Callable[[Settings], web.Application]


class Place(NamedTuple):
    """Where a process serves: its sockets, which of how many it is, and its end of the channel to the supervisor."""

    sockets: list[socket.socket]
    number: int = 0
    processes: int = 1
    channel: socket.socket | None = None


async def serve(settings: Settings, place: Place, make_app: MakeApp) -> None:
    """Serve until told to stop, or until the supervisor is gone."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    app = make_app(settings)
    limits = Limits.of(settings)
    limits = limits._replace(connections=room_for(limits.connections))
    runner = GatewayRunner(app, limits=limits, shutdown_timeout=CUT_SECONDS)
    siblings = _siblings(app, place, stopping)
    freezer = Freezer(partial(len, app[SOCKETS])) if SOCKETS in app else None
    try:
        await runner.setup()
        sites = [web.SockSite(runner, one, backlog=BACKLOG) for one in place.sockets]
        for site in sites:
            await site.start()
        # What is there now stays: no collection need look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC)
        if freezer is not None:
            freezer.start()
        if siblings is not None:
            await siblings.start()
        log.info("gateway serves http://%s:%d", settings.host, settings.port)
        await stopping.wait()
        await stop(runner, sites, place.sockets, settings)
    finally:
        if freezer is not None:
            freezer.stop()
        if siblings is not None:
            siblings.stop()
        await runner.cleanup()


def _siblings(app: web.Application, place: Place, stopping: asyncio.Event) -> Siblings | None:
    life, parts = app[LIFE], app[GATEWAY].parts
    life.number, life.processes = place.number, place.processes
    if place.channel is None:
        return None
    siblings = Siblings(place.channel, life, lambda: parts.scrape()[1], stopping.set)
    life.others = siblings.others
    return siblings


async def stop(
    runner: GatewayRunner, sites: list[web.SockSite], sockets: list[socket.socket], settings: Settings
) -> None:
    """Not ready at once; then nobody new; then the connections one by one, as long as that may take."""
    log.info("gateway stops: it finishes what is in flight")
    runner.app[LIFE].draining = True
    await asyncio.sleep(settings.drain_delay)
    await let_in_the_last(sockets)
    for site in sites:
        await site.stop()
    left = await _drain(runner, settings.drain)
    if left:
        log.warning("gateway stops: %d connections were not done after %g s", left, settings.drain)


async def _drain(runner: GatewayRunner, seconds: float) -> int:
    sockets = runner.app.get(SOCKETS)
    left, _ = await asyncio.gather(
        runner.gateway.drain(seconds), sockets.drain(seconds) if sockets is not None else asyncio.sleep(0)
    )
    return left


def room_for(connections: int) -> int:
    """As many of these connections as the system lets us have files for, after asking it for enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted - OTHER_FILES < connections:
        log.warning("only %d files are allowed: that many connections less %d", wanted, OTHER_FILES)
    return max(1, min(connections, wanted - OTHER_FILES))
