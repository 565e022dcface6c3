"""Which offset may be committed: a pure account of the batches handed out and acknowledged, a partition at a time."""

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

P = TypeVar("P", bound=Hashable)


class Ticket(NamedTuple):
    """Stands for one batch handed out; worthless after the partition was reset or forgotten."""

    era: int
    number: int


class _Open:
    __slots__ = ("born", "done", "next_offset")

    def __init__(self, next_offset: int, born: int) -> None:
        self.next_offset = next_offset
        self.born = born
        self.done = False


class _Partition:
    __slots__ = ("committable", "era", "first", "front", "open", "position")

    def __init__(self, era: int, position: int | None) -> None:
        self.era = era
        #: The offset expected next; None: whatever comes first.
        self.position = position
        #: What is done without a break ends before it; None: nothing is known to be.
        self.front = position
        self.committable: int | None = None
        #: Batches from the oldest that isn't done on; `first` is the number of the oldest.
        self.open: deque[_Open] = deque()
        self.first = 0


class OffsetLedger(Generic[P]):
    """Keeps, for each partition, the batches in hand-out order, and how far they are done without a break."""

    def __init__(self) -> None:
        self._partitions: dict[P, _Partition] = {}
        self._eras = 0

    def reset(self, partition: P, position: int | None) -> None:
        """Reading starts anew at `position` (None: wherever it starts); batches handed out before count no more."""
        self._eras += 1
        self._partitions[partition] = _Partition(self._eras, position)

    def forget(self, partitions: Iterable[P]) -> None:
        """The partitions are somebody else's now."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def position(self, partition: P) -> int | None:
        """The offset expected next, None where any may come."""
        entry = self._partitions.get(partition)
        return entry.position if entry else None

    def front(self, partition: P) -> int | None:
        """The offset up to which all is done without a break, None where nothing is known to be."""
        entry = self._partitions.get(partition)
        return entry.front if entry else None

    def in_hand(self, partition: P) -> bool:
        """Whether a batch of the partition is handed out and not done."""
        entry = self._partitions.get(partition)
        return entry is not None and bool(entry.open)

    def oldest(self) -> dict[P, int]:
        """When the first record of the oldest batch in hand was written, by partition."""
        return {partition: entry.open[0].born for partition, entry in self._partitions.items() if entry.open}

    def hand_out(self, partition: P, next_offset: int, born: int = 0) -> Ticket:
        """Note a batch that ends before `next_offset`, whose first record was written at `born`."""
        entry = self._partitions.get(partition)
        if entry is None:
            self.reset(partition, None)
            entry = self._partitions[partition]
        if entry.position is not None and next_offset <= entry.position:
            raise ValueError(f"{partition}: a batch up to {next_offset} was handed out already")
        entry.position = next_offset
        entry.open.append(_Open(next_offset, born))
        return Ticket(entry.era, entry.first + len(entry.open) - 1)

    def acknowledge(self, partition: P, ticket: Ticket) -> bool:
        """Note that a batch is done; False when the ticket is worthless by now."""
        if not self.is_open(partition, ticket):
            return False
        entry = self._partitions[partition]
        entry.open[ticket.number - entry.first].done = True
        while entry.open and entry.open[0].done:
            entry.front = entry.committable = entry.open.popleft().next_offset
            entry.first += 1
        return True

    def hold(self, partition: P, ticket: Ticket, offset: int) -> bool:
        """Note that all before `offset`, which lies in this batch, is done; no batch handed out counts any more.

        The batches before this one must be acknowledged or done. False when the ticket is worthless by now.
        """
        if not self.is_open(partition, ticket):
            return False
        self.reset(partition, offset)
        self._partitions[partition].committable = offset
        return True

    def is_open(self, partition: P, ticket: Ticket) -> bool:
        """Whether the ticket still stands for a batch that isn't done."""
        entry = self._partitions.get(partition)
        return entry is not None and entry.era == ticket.era and ticket.number >= entry.first

    def committable(self) -> dict[P, int]:
        """The offsets that may be committed and haven't been taken yet, by partition."""
        return {
            partition: entry.committable
            for partition, entry in self._partitions.items()
            if entry.committable is not None
        }

    def committed(self, partition: P, offset: int) -> None:
        """The broker has this offset."""
        entry = self._partitions.get(partition)
        if entry is not None and entry.committable is not None and entry.committable <= offset:
            entry.committable = None

    def in_flight(self) -> int:
        """How many batches are handed out and not done."""
        return sum(len(entry.open) for entry in self._partitions.values())
