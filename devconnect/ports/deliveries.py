"""What has become of telling somebody of something by a channel."""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

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
    """Keeps deliveries. Writes move forward only, and can be repeated; UnavailableError when it can't be done now."""

    async def advance(self, moves: Sequence[Advance]) -> None:
        """Say what the channels have done; of a delivery that isn't there nothing."""
