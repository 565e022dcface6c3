"""Presence as the gateway says it and hears of it: who has sockets here, and what those who watch are told."""

from collections.abc import Callable, Sequence, Set
from typing import Protocol

from msgspec import Struct

from devconnect.ports.reads import PresenceView


class Gone(Struct, frozen=True):
    """Somebody is offline now; they were last seen then (milliseconds since 1970)."""

    user: str
    last_seen: int


#: Called with those who have gone offline, each once in the whole of the fleet. It mustn't wait.
Went = Callable[[Sequence[Gone]], None]
#: Called with what has changed for one watcher. It mustn't wait.
Told = Callable[[Sequence[PresenceView]], None]


class Roster(Protocol):
    """Says for this gateway who has sockets here. Neither method raises: what can't be said now is said later."""

    async def join(self, user: str) -> bool:
        """The user's first socket has opened. Whether Redis knows on return."""

    async def leave(self, user: str) -> bool:
        """The user's last socket has closed, and the grace for another is over. Whether Redis knows on return."""


class Watcher(Protocol):
    """One socket's eye on people."""

    @property
    def watched(self) -> Set[str]:
        """Of whom it is told."""

    async def add(self, users: Sequence[str]) -> list[PresenceView]:
        """These people as the reader may see them, in this order; from here on what changes of it is told.

        Raises truth.UnavailableError when that can't be read now: then none of them that is new is watched.
        """

    def remove(self, users: Sequence[str]) -> None:
        """Nothing more is told of them."""

    def close(self) -> None:
        """Nothing more is told."""


class Watching(Protocol):
    """Tells those who watch, and may see it, who comes and goes."""

    def watcher(self, reader: str, told: Told) -> Watcher:
        """A new watcher, who reads for this user, and watches nobody yet. Close it."""
