"""What was decided of telling somebody of something by a channel, and what has become of it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from devconnect.domain.delivering import Delivery, Window

#: What the channels say of a delivery: each after the ones before it, and never back.
Progress = Literal["skipped", "failed", "sent", "delivered"]


class Advance(Struct, frozen=True, kw_only=True):
    """A delivery is `state` since `at`, after `tries`; `why` says in plain words what went wrong, if anything did."""

    delivery: str
    state: Progress
    at: int
    tries: int = 1
    why: str = ""


class Deliveries(Protocol):
    """Keeps deliveries, by user:notification:channel.

    Writes move forward only and can be repeated. truth.UnavailableError when something can't be known, or done, now.
    """

    async def find(self, ids: Collection[str]) -> Mapping[str, Delivery]:
        """Those of these deliveries that were decided."""

    async def decide(self, deliveries: Sequence[Delivery]) -> Mapping[str, Delivery]:
        """Keep these (each is there once), in order, up to one that was decided before: that is returned, as it is."""

    async def advance(self, moves: Sequence[Advance]) -> None:
        """Say what the channels have done; of a delivery that isn't there nothing."""

    async def seen(self, user: str, up_to: str, at: int) -> None:
        """What the user was told of all notifications up to this one is seen."""

    async def read(self, user: str, notifications: Collection[str], at: int) -> None:
        """What the user was told of these is seen."""

    async def windows(self, ids: Collection[str]) -> Mapping[str, Window]:
        """The windows of these groups, as they were last."""

    async def put_windows(self, windows: Sequence[Window]) -> None:
        """Keep each unless the stored one's `seq` is as high."""

    async def due(self, now: int, limit: int) -> list[Delivery]:
        """Those that are held, and due by now; the longest waiting first."""

    async def gathered(self, into: str) -> list[Delivery]:
        """What is counted in this one."""

    async def seen_ones(self, notifications: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these (user, notification) that their user has seen or read."""

    async def let_go(self, delivery: Delivery) -> None:
        """What was held is now as this says (queued, skipped, or held until later), unless it isn't held any more."""


class Occasions(Protocol):
    """What is raised once for each occasion. truth.UnavailableError as above."""

    async def claim(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """By occasion the event that raises it: the wanted one, unless another one has come first."""


class DueDigest(Struct, frozen=True, kw_only=True):
    """A digest of what has come from `since` until it was due `at`."""

    user: str
    at: int
    since: int


class Schedule(Struct, frozen=True, kw_only=True):
    """When somebody's next digest is due (None: they want none), as the preferences of `seq` say; set at `since`."""

    user: str
    seq: int
    at: int | None
    since: int


class Digests(Protocol):
    """When digests are due. truth.UnavailableError as above."""

    async def schedule(self, schedules: Sequence[Schedule]) -> None:
        """Keep each unless the stored one's `seq` is as high."""

    async def due(self, now: int, limit: int) -> list[DueDigest]:
        """Those that are due by now, the longest waiting first."""

    async def unread(self, user: str, since: int, before: int) -> Mapping[str, int]:
        """How many that came meanwhile aren't read, by kind."""

    async def done(self, digest: DueDigest, following: int | None) -> None:
        """The next is due then, unless another is due by now."""
