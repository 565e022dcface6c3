"""`python -m web`: serves the gateway until SIGTERM or Ctrl-C, then finishes what is in flight."""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence

import uvloop

from devconnect.adapters.kafka.topics import TopicsError
from devconnect.settings import Settings, SettingsError
from devconnect.stack import StackError
from web.app import build
from web.listening import bind
from web.logs import configure
from web.serving import MakeApp, Place, serve
from web.supervisor import Supervisor


def main(make_app: MakeApp = build, program: Sequence[str] = ("-m", "web")) -> None:
    """Run the gateway; one line and a non-zero exit when it can't start.

    `program`: how this Python starts another process that comes here.
    """
    asked = _arguments()
    try:
        settings = Settings.load()
        configure(settings.log_level)
        processes = asked.processes or settings.processes
        if asked.child:
            uvloop.run(serve(settings, _place(asked.child), make_app))
        elif processes == 1:
            uvloop.run(serve(settings, Place(bind(settings.host, settings.port)), make_app))
        else:
            sys.exit(asyncio.run(_supervise(settings, processes, program)))
    except (SettingsError, StackError, TopicsError) as exc:
        sys.exit(f"gateway: {exc}")
    except OSError as exc:
        sys.exit(f"gateway: can't listen on {settings.host}:{settings.port} ({exc.strerror or exc}): set PORT")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m web", description="Serves the gateway.")
    parser.add_argument(
        "--processes", type=_count, metavar="N", help="processes on the one port (default: GATEWAY_PROCESSES, or 1)"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _count(raw: str) -> int:
    count = int(raw)
    if not 1 <= count <= 64:
        raise argparse.ArgumentTypeError("expected a whole number, 1 to 64")
    return count


def _place(told: str) -> Place:
    """What the supervisor says: `number/processes:descriptor of its channel:descriptors to listen on`."""
    which, channel, listening = told.split(":")
    number, _, processes = which.partition("/")
    sockets = [socket.socket(fileno=int(each)) for each in listening.split(",")]
    for descriptor in (int(channel), *(one.fileno() for one in sockets)):
        os.set_inheritable(descriptor, False)
    return Place(sockets, int(number), int(processes), socket.socket(fileno=int(channel)))


async def _supervise(settings: Settings, processes: int, program: Sequence[str]) -> int:
    return await Supervisor(settings, processes, program).run()


if __name__ == "__main__":
    main()
