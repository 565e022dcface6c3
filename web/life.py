"""What a gateway process knows of itself and of its siblings: whether it is on its way out, how to ask the others."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

#: The metrics of the other processes by their number: of those that answered in time.
Others = Callable[[], Awaitable[Mapping[str, bytes]]]


async def _nobody() -> Mapping[str, bytes]:
    return {}


@dataclass
class Life:
    """Told by whoever runs the process; read by health and server."""

    #: From SIGTERM on: not ready any more, and every answer the last one on its connection.
    draining: bool = False
    #: Which of how many processes on the port this is, from 0; and how many of them serve.
    number: int = 0
    processes: int = 1
    serving: int = 1
    others: Others = field(default=_nobody)


LIFE: web.AppKey[Life] = web.AppKey("life", Life)
