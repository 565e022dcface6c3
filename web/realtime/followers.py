"""Who is told what is in one person's inbox, and how frames get to them."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from devconnect.domain.inbox import Item
from web.realtime.frames import Frame, encode_event

#: Bytes after which a socket that catches up is waited for, and seconds that it has to take them.
FLUSH, TAKE = 50_000, 15.0
#: Where to read what isn't told any more.
STATE = ("/v1/conversations", "/v1/me/notifications", "/v1/connections", "/v1/connections/requests")


class Outlet(Protocol):
    """A socket."""

    @property
    def closed(self) -> bool:
        """Whether it is gone."""

    def send(self, frame: Frame) -> None:
        """Send, without waiting."""

    async def flush(self) -> None:
        """Wait until most has been sent."""

    def close(self, reason: str) -> None:
        """End it; its client comes back."""


class Standing(Struct, frozen=True):
    """What a socket is told before what it has missed: the event `inbox`.

    `recovered`: all that follows the client's cursor follows. Otherwise what follows is only the newest that is kept:
    what was before that is read at `state`. `cursor` is where it begins. `live`: what happens is heard at
    once; where it isn't, the event `live` says when that is so again.
    """

    recovered: Annotated[bool, Meta(description="Whether everything since the client's cursor follows.")]
    cursor: Annotated[str, Meta(description="Where what follows begins.")]
    live: Annotated[bool, Meta(description="Whether what happens is told at once.")]
    state: Annotated[tuple[str, ...], Meta(description="What to read over HTTP, where not everything follows.")] = ()


class Follower:
    """One person's inbox as far as it was told here, and the sockets that were told."""

    __slots__ = ("behind", "cursor", "epoch", "joining", "listens", "lock", "sockets", "unheld")

    def __init__(self) -> None:
        self.sockets: set[Outlet] = set()
        self.epoch = 0
        #: None: nobody was told anything yet.
        self.cursor: int | None = None
        #: Held by who reads what is told next: whatever is heard meanwhile is read, too.
        self.lock = asyncio.Lock()
        self.listens = False
        #: Something was heard, or lost, that didn't go out; who sees to that is under way.
        self.behind = False
        #: Sockets that are being brought to where the others are.
        self.joining = 0
        #: Rounds for which the fast store hasn't held the inbox.
        self.unheld = 0

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and cursor; before everything when nobody was told anything."""
        return self.epoch, -1 if self.cursor is None else self.cursor

    def tell(self, frame: Frame) -> None:
        """Send one frame to all of them."""
        for socket in tuple(self.sockets):
            socket.send(frame)


def live_frame(live: bool) -> Frame:
    """The event `live`."""
    return encode_event("live", b'{"live":true}' if live else b'{"live":false}')


async def send_all(socket: Outlet, items: Sequence[Item], cursor: int) -> int:
    """Send what follows to one socket, as quickly as it takes it; gives the last cursor."""
    size = 0
    for item in items:
        socket.send(encode_event(item.kind, item.text))
        cursor = item.cursor
        size += len(item.text)
        if size > FLUSH:
            await _taken(socket)
            size = 0
        if socket.closed:
            break
    return cursor


async def _taken(socket: Outlet) -> None:
    """Return when the client has taken most of it; one that doesn't in time is dropped."""
    try:
        async with asyncio.timeout(TAKE):
            await socket.flush()
    except TimeoutError:
        socket.close("slow")
