"""What a command agent knows of the documents that it alone changes, so that it needn't read them again."""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

from agents.processing import Slice
from devconnect.domain.model import AnyDocument, Kind, Ref, Snapshot, ref_of

#: Documents that are kept from one call to the next; some 20 MB.
CAPACITY = 20_000
#: There are many of these, and few are asked for again: they are kept only until they are stored.
PASSING: tuple[Kind, ...] = ("message", "report")


class Memory:
    """Documents of some kinds as the commands up to here have left them.

    They are changed by the commands of one partition only, each command is decided once, and what follows from a
    decision is a pure function. So whoever has gone through every command of a partition, in order, and carried on from
    the stored decision wherever somebody else was first, knows its documents, whoever else works on them meanwhile.
    `follow` sees to it: where a command was missed all is forgotten, and read again.
    """

    def __init__(self, kinds: Collection[Kind], capacity: int = CAPACITY) -> None:
        self._kinds = kinds
        self._capacity = capacity
        #: The oldest first; None for one that is known not to exist.
        self._documents: dict[Ref, AnyDocument | None] = {}
        self._passing: list[Ref] = []
        self._next: dict[tuple[str, int], int] = {}

    def follow(self, slices: Sequence[Slice[Any]]) -> None:
        """These records are next: forget all unless each slice goes on where its partition's last one ended."""
        for part in slices:
            expected = self._next.get((part.topic, part.partition))
            if expected is not None and expected != part.records[0].offset:
                self.forget()
                return

    def finish(self, slices: Sequence[Slice[Any]]) -> None:
        """All of their effects are stored."""
        for ref in self._passing:
            self._documents.pop(ref, None)
        self._passing.clear()
        for part in slices:
            first, last = part.records[0].offset, part.records[-1].offset
            if last - first + 1 != len(part.records):
                self.forget()
                return
            self._next[part.topic, part.partition] = last + 1
        for ref in list(islice(self._documents, max(0, len(self._documents) - self._capacity))):
            del self._documents[ref]

    def recall(self, refs: Iterable[Ref]) -> tuple[Snapshot, set[Ref]]:
        """The documents that are known to exist, and the names of which nothing is known."""
        found: Snapshot = {}
        unknown: set[Ref] = set()
        for ref in refs:
            try:
                document = self._documents[ref]
            except KeyError:
                unknown.add(ref)
            else:
                if document is not None:
                    found[ref] = document
        return found, unknown

    def keep(self, refs: Iterable[Ref], state: Snapshot, changed: Iterable[AnyDocument]) -> None:
        """These are read as `state` says, or not there, but for those that have changed."""
        for ref in refs:
            self._put(ref, state.get(ref))
        for document in changed:
            self._put(ref_of(document), document)

    def forget(self) -> None:
        """Know nothing."""
        self._documents.clear()
        self._passing.clear()
        self._next.clear()

    def _put(self, ref: Ref, document: AnyDocument | None) -> None:
        if ref.kind in self._kinds:
            self._documents.pop(ref, None)
            self._documents[ref] = document
            if ref.kind in PASSING:
                self._passing.append(ref)
