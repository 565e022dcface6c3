"""How many dead letters one agent may bury of one partition before that is no matter of single records any more.

Everything follows from the offsets of the bad records, so that whoever reads them back comes to the same end: after a
crash, on another worker, with the records in other batches.
"""

from collections.abc import Sequence

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """At most `run` bad records one behind the other, and at most `share` percent of any `window` offsets.

    The share is one of whole windows: a few bad records of a topic that is quiet never exceed it.
    """

    run: int = 100
    share: int = 50
    window: int = 1000

    @property
    def reach(self) -> int:
        """How many offsets before a record the verdict on it may depend on."""
        return max(self.run, self.window)

    def exceeded(self, bad: Sequence[int], since: int) -> int | None:
        """The first offset from `since` on that is one bad record too many, or None. `bad` is in order."""
        most = max(1, self.window * self.share // 100)
        run = first = 0
        for index, offset in enumerate(bad):
            run = run + 1 if index and offset == bad[index - 1] + 1 else 1
            while bad[first] <= offset - self.window:
                first += 1
            if offset >= since and (run > self.run or index - first + 1 > most):
                return offset
        return None
