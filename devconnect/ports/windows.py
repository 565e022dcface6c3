"""Publishing closed windows exactly once, and knowing when a source partition stands still."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from devconnect.domain.windows import Publication
from devconnect.events.parts import AnyPart


class WindowLog(Protocol):
    """The parts of windows, and where their totals are published. Raises truth.UnavailableError while it is down."""

    async def open(self) -> Sequence[AnyPart]:
        """From here on nobody who opened it before can publish; returns all parts that there are."""

    async def publish(self, publication: Publication) -> None:
        """All of it or nothing. After an error nothing is known of it: open again, and look."""

    async def close(self) -> None:
        """Let go of it."""


class Progress(Protocol):
    """How far topics and their readers are. Raises truth.UnavailableError when that can't be learned now."""

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """The offset after the last record of each partition."""

    async def committed(self, group: str, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """The offset up to which a consumer group is done with each partition; 0 where it has never been."""
