"""One of the Python servers, a process of its own: `python -m bench.sockets.servers NAME`, on PORT.

With REDIS_URL it is one of several. All are served alike: aiohttp on uvloop, no access log.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import uvloop
from aiohttp import web

from bench.sockets.bare import Bare
from bench.sockets.stalls import Stalls
from devconnect.stack.ports import LOOPBACK

#: Connections that may wait to be accepted.
BACKLOG = 4096


def bare(redis: str | None) -> web.Application:
    """aiohttp's websockets."""
    return Bare(redis).application()


def public(redis: str | None) -> web.Application:
    """python-socketio."""
    from bench.sockets import public as server  # noqa: PLC0415  # what isn't served takes no memory

    return server.application(redis)


def ours(redis: str | None) -> web.Application:
    """The gateway's own engine."""
    from bench.sockets.ours import Ours  # noqa: PLC0415  # what isn't served takes no memory

    return Ours(redis).application()


APPLICATIONS: dict[str, Callable[[str | None], web.Application]] = {
    "aiohttp": bare,
    "socketio": public,
    "socketio_plain": public,
    "ours": ours,
}


async def serve(name: str, port: int) -> None:
    """Serve until told to stop."""
    stopping, stalls = asyncio.Event(), Stalls()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    app = APPLICATIONS[name](os.environ.get("REDIS_URL"))
    app.add_routes([web.get("/stalls", stalls.tell)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port, backlog=BACKLOG).start()
        stalls.start()
        await stopping.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(os.environ["PORT"])))
