"""`python -m web`: serves the gateway until SIGTERM or Ctrl-C, then finishes what is in flight."""

import asyncio
import logging
import signal
import sys

import uvloop
from aiohttp import web

from devconnect.adapters.kafka.topics import TopicsError
from devconnect.settings import Settings, SettingsError
from devconnect.stack import StackError
from web.app import build
from web.logs import configure

log = logging.getLogger("web")

#: Seconds that requests in flight have to end; then they are cut off.
FINISH_SECONDS = 3.0


async def serve(settings: Settings) -> None:
    """Serve until told to stop. OSError when the port can't be had."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    runner = web.AppRunner(build(settings), access_log=None, shutdown_timeout=FINISH_SECONDS)
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        log.info("gateway serves http://%s:%d", settings.host, settings.port)
        await stopping.wait()
        log.info("gateway stops: no new requests, finishing those in flight")
    finally:
        await runner.cleanup()


def main() -> None:
    """Run the gateway; one line and a non-zero exit when it can't start."""
    try:
        settings = Settings.load()
        configure(settings.log_level)
        uvloop.run(serve(settings))
    except (SettingsError, StackError, TopicsError) as exc:
        sys.exit(f"gateway: {exc}")
    except OSError as exc:
        sys.exit(f"gateway: can't listen on {settings.host}:{settings.port} ({exc.strerror or exc}): set PORT")


if __name__ == "__main__":
    main()
