"""How far the read models are behind what has happened."""

from typing import Protocol


class Freshness(Protocol):
    """What the projections say of how far they are. Topics are those of events. A store that is down raises nothing."""

    async def applied(self, topic: str, partition: int) -> int | None:
        """The highest seq of the partition that is in the read models, 0 where nothing is.

        None while the store can't be asked, or isn't complete: the database answers reads then.
        """

    async def wait(self, topic: str, partition: int, seq: int, seconds: float) -> bool:
        """Whether all up to `seq` is in the read models, or comes to be so in time.

        False at once while the store can't be asked, or isn't complete: there is nothing to wait for, since reads are
        then answered by the database.
        """

    def as_of(self, partition: int | None = None, topic: str | None = None) -> int:
        """The time, in milliseconds since 1970, up to which the read models hold what has happened; 0 for unknown.

        Of one partition or all, of one topic or all. What was last heard, which may be half a second ago.
        """
