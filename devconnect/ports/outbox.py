"""What is to be sent to somebody's devices and servers, until it is, or is given up."""

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from devconnect.events.base import RequestChannel

#: How it ended.
End = Literal["sent", "dropped", "failed"]


class Parcel(Struct, frozen=True, kw_only=True):
    """One request for one target, a push subscription or a webhook. `id` names both, so it is there once.

    `request` is the request as Kafka carries it, on `partition` at `offset`. `tries` have been made. It is `due` at a
    time in milliseconds, and worth nothing after `expires_at`.
    """

    id: str
    channel: RequestChannel
    user: str
    target: str
    partition: int
    offset: int
    request: str
    expires_at: int
    due: int
    tries: int = 0
    smaller: int = 0


class Outbox(Protocol):
    """Holds parcels. Every method raises UnavailableError when that can't be done now."""

    async def put(self, parcels: Sequence[Parcel], *, again: bool = False) -> None:
        """Put them in, but for those that were ever in it; `again`: those that were given up are due once more."""

    async def due(self, channel: RequestChannel, now: int, limit: int, busy: Collection[str] = ()) -> list[Parcel]:
        """Parcels that are due, the longest waiting first, none for these targets."""

    async def claim(self, parcel: Parcel, until: int) -> Parcel | None:
        """Keep it from everybody else until then, when it is `due` again; None when it isn't due as it was any more."""

    async def later(self, parcel: Parcel, until: int, why: str) -> None:
        """The next try of a claimed parcel is then; `parcel` says how many were made.

        Nothing once somebody else has claimed it.
        """

    async def end(self, parcel: Parcel, how: End, at: int, why: str) -> None:
        """A claimed parcel is done with. Nothing once somebody else has claimed it."""

    async def failing_since(self, target: str, at: int) -> int:
        """Since when the target has taken nothing; `at`, where that begins now."""

    async def thrives(self, target: str) -> None:
        """The target has taken something."""
