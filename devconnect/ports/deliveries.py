"""What was decided of telling somebody of something by a channel, and what has become of it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from devconnect.domain.delivering import Delivery, Window

#: What the channels say of a delivery: each after the ones before it, and never back.
Progress = Literal["failed", "sent", "delivered", "skipped"]


class Advance(Struct, frozen=True, kw_only=True):
    """A delivery is `state` since `at`, after `tries`; `why` says in plain words what went wrong, if anything did."""

    delivery: str
    state: Progress
    at: int
    tries: int = 1
    why: str = ""


class Deliveries(Protocol):
    """Keeps deliveries. Writes move forward only and can be repeated; truth.UnavailableError when it can't be done now."""

    async def find(self, ids: Collection[str]) -> Mapping[str, Delivery]:
        """Those of these deliveries that were decided."""

    async def decide(self, deliveries: Sequence[Delivery]) -> Mapping[str, Delivery]:
        """Keep each unless it was decided before; returns those that were, as they were."""

    async def advance(self, moves: Sequence[Advance]) -> None:
        """Say what the channels have done; of a delivery that isn't there nothing."""

    async def seen(self, user: str, up_to: str) -> None:
        """The user has had all notifications up to this one before their eyes."""

    async def read(self, user: str, notifications: Collection[str]) -> None:
        """The user has read these."""

    async def windows(self, ids: Collection[str]) -> Mapping[str, Window]:
        """The windows of these groups, as they were last."""

    async def put_windows(self, windows: Sequence[Window]) -> None:
        """Keep each unless the stored one's `seq` is as high."""

    async def due(self, now: int, limit: int) -> list[Delivery]:
        """Those that are held, and due by now; the longest waiting first."""

    async def gathered(self, into: Collection[str]) -> Mapping[str, Sequence[Delivery]]:
        """What was grouped into each of these."""

    async def let_go(self, delivery: Delivery) -> None:
        """What was held is now as this says (queued, skipped, or held until later), unless it isn't held any more."""

    async def of(self, user: str, notification: str) -> Sequence[Delivery]:
        """What was decided of a notification, by channel."""
