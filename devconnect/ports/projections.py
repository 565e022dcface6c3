"""The read models' writing side."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from devconnect.domain.projections import Update


class Mark(Struct, frozen=True):
    """How far a partition is applied: the highest `seq`, and the time (milliseconds since 1970) up to which it is.

    What wasn't in Kafka by that time may be older all the same: a clock that is behind, a request that was overtaken.
    """

    seq: int
    at: int


class Projections(Protocol):
    """Keeps what people read. Every update moves forward only; all of them can be repeated."""

    async def apply(self, updates: Sequence[Update]) -> None:
        """Apply the updates in order; truth.UnavailableError when that can't be done now."""

    async def applied(self, topic: str, marks: Mapping[int, Mark]) -> None:
        """Say how far these partitions of the topic are applied: forward only, and after `apply` has ended."""

    async def complete(self) -> bool:
        """Whether everything that has happened is in the read models; False when they were wiped."""

    async def declare_complete(self) -> None:
        """Say so: every event there is has been applied."""

    async def sessions_known(self) -> bool:
        """Whether nothing can be missing; False when the store was started anew, and may be what it was before."""

    async def declare_sessions_known(self) -> None:
        """Say so: every event there is has been applied."""


#: (row key, values, seq)
TableRow = tuple[str, tuple[int, ...], int]


class TableViews(Protocol):
    """Keeps what analysts read of the tables."""

    async def published(self, table: str, partition: int) -> int:
        """The changelog offset up to which the partition's rows are in the view, exclusive; 0 for none."""

    async def publish(self, table: str, partition: int, rows: Sequence[TableRow], upto: int) -> None:
        """Put rows into the view, forward only; then the view is good up to `upto`."""

    async def expire(self, table: str, before: int) -> None:
        """Windows that have ended by `before` are shown no more, whole and for good: the table lets go of them."""

    async def open(self, table: str) -> None:
        """The table is kept, and what isn't in its view hasn't happened: an empty view is an empty table."""
