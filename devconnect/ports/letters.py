"""What the dead letters themselves say: which records were bad, and how many an operator has allowed."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class History(Struct, frozen=True):
    """Offsets that one agent has buried of one partition, in order, and up to which offset any number of them may be.

    `allowed` is -1 where nobody has allowed anything.
    """

    bad: tuple[int, ...] = ()
    allowed: int = -1


class Letters(Protocol):
    """Reads `dead-letters`; UnavailableError when that can't be done now."""

    async def history(self, agent: str, topic: str, partition: int, since: int, before: int) -> History:
        """What the agent has buried of the partition from offset `since` on, and before offset `before`."""

    async def allowed(self, partition: int) -> Mapping[str, int]:
        """For each topic, up to which offset of this partition any number of bad records may be buried."""
