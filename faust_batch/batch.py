"""The unit of work: the records that one fetch brought of one partition."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol


class Record(Protocol):
    """A Kafka record as aiokafka gives it. `timestamp` is in milliseconds since 1970."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class RevokedError(Exception):
    """The partition isn't this process's any more: leave its batch to who has it now."""


class Batch:
    """Records of one partition in offset order, at least one; `next_offset` follows the last of them.

    Whoever has processed all of them, and has every output acknowledged, says so once with `acknowledge`. A batch
    that never is acknowledged is fetched again by whoever owns the partition next.
    """

    __slots__ = (
        "_acknowledge",
        "_hold",
        "_is_current",
        "_release",
        "first_offset",
        "next_offset",
        "partition",
        "records",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        records: Sequence[Record],
        *,
        acknowledge: Callable[[], None],
        is_current: Callable[[], bool],
        hold: Callable[[int], None],
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.first_offset = records[0].offset
        self.next_offset = records[-1].offset + 1
        self._acknowledge = acknowledge
        self._is_current = is_current
        self._hold = hold
        self._release = release

    def is_current(self) -> bool:
        """False when the partition was taken away, or is read anew, since the batch was fetched: leave it alone."""
        return self._is_current()

    def acknowledge(self) -> None:
        """Let the offset move past this batch. Harmless when the partition was taken away meanwhile."""
        self._acknowledge()

    def hold(self, offset: int) -> None:
        """Stop the partition at one of this batch's records: all before it is done, nothing from it on is handed over.

        The other partitions go on. It lasts until `release`, or until the partition is assigned anew.
        """
        self._hold(offset)

    async def release(self) -> None:
        """Read the partition on from where it was held. Harmless when it isn't held any more."""
        await self._release()

    def __repr__(self) -> str:
        return f"<Batch {self.topic}-{self.partition} {self.first_offset}..{self.next_offset - 1}>"
