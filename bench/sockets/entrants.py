"""Who takes part in `bench realtime`: how each is started, and how it is spoken to."""

from pathlib import Path
from typing import NamedTuple

from bench import tools
from bench.rig import python

CENTRIFUGE = tools.HERE / "peers" / "centrifuge"
NAMES = ("aiohttp", "socketio", "socketio_plain", "ours", "centrifuge")


class Entrant(NamedTuple):
    """One of them. `stalls`: whether it can say how long its loop was held up."""

    name: str
    command: tuple[str, ...]
    dialect: str
    deflate: bool = True
    stalls: bool = True


def entrant(name: str) -> Entrant:
    """The one of this name; BenchError where it can't be had on this machine."""
    match name:
        case "centrifuge":
            return Entrant(name, (str(_centrifuge()),), "centrifuge", stalls=False)
        case "aiohttp":
            return Entrant(name, _ours(name), "bare")
        case "socketio_plain":
            # The same server, with clients that offer no compression.
            return Entrant(name, _ours(name), "socketio", deflate=False)
        case _:
            return Entrant(name, _ours(name), "socketio")


def _ours(name: str) -> tuple[str, ...]:
    return (*python("bench.sockets.servers"), name)


def _centrifuge() -> Path:
    return tools.go_program("centrifuge", CENTRIFUGE)
