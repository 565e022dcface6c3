"""ports.allowances in this process alone: the same rules while Redis can't be asked. Its memory is bounded."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice

from devconnect.domain.allowances import Allowance, Rule
from devconnect.ports.allowances import Allowances, Taking

#: Windows and ids that are kept together; beyond them those that were used longest ago go.
ROOM = 200_000


class SlidingWindow:
    """The ids that were counted in the last so many milliseconds. Times are in milliseconds and never go back."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._times)

    def take(self, rule: Rule, id: str, now: int) -> Allowance:
        """Count this id, unless it is counted or there is no room for it."""
        length, amount = rule.quota.seconds * 1000, rule.quota.amount
        while self._times and next(iter(self._times.values())) <= now - length:
            del self._times[next(iter(self._times))]
        repeated = id in self._times
        granted = repeated or len(self._times) < amount
        if granted and not repeated:
            self._times[id] = now
        used = len(self._times)
        leaves = next(islice(self._times.values(), max(0, used - amount), None))
        return Allowance(rule, int(granted), max(0, amount - used), leaves + length - now, repeated)

    def give_back(self, id: str) -> None:
        """Count this id no more."""
        self._times.pop(id, None)


class CountingWindow:
    """How many were taken since the first use, for so many milliseconds from then on."""

    def __init__(self) -> None:
        self._used = self._ends = 0

    def __len__(self) -> int:
        return 0

    def take(self, rule: Rule, id: str, now: int) -> Allowance:
        """Take a block, or what is left of one."""
        if now >= self._ends:
            self._used, self._ends = 0, now + rule.quota.seconds * 1000
        granted = max(0, min(rule.block, rule.quota.amount - self._used))
        self._used += granted
        return Allowance(rule, granted, max(0, rule.quota.amount - self._used), self._ends - now)

    def give_back(self, id: str) -> None:
        """Count one less."""
        self._used = max(0, self._used - 1)


class LocalAllowances(Allowances):
    """Counts for this process. A tier that isn't known is the first of a taking's rules."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic, room: int = ROOM) -> None:
        self._now, self._room = now, room
        self._windows: OrderedDict[tuple[str, str], SlidingWindow | CountingWindow] = OrderedDict()
        self._ids = 0

    async def take(self, takings: Sequence[Taking]) -> list[Allowance]:
        return [self._take(taking) for taking in takings]

    async def give_back(self, takings: Sequence[Taking], *, clear: Sequence[Taking] = ()) -> None:
        for taking in takings:
            window = self._windows.get(_key(taking))
            if window is not None:
                before = len(window)
                window.give_back(taking.id)
                self._ids += len(window) - before
        for taking in clear:
            window = self._windows.pop(_key(taking), None)
            self._ids -= 0 if window is None else len(window)

    def __len__(self) -> int:
        """Windows and ids that are kept."""
        return len(self._windows) + self._ids

    def _take(self, taking: Taking) -> Allowance:
        key, rule = _key(taking), taking.rules[0]
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = SlidingWindow() if rule.exact else CountingWindow()
        self._windows.move_to_end(key)
        before = len(window)
        allowance = window.take(rule, taking.id, int(self._now() * 1000))
        self._ids += len(window) - before
        while len(self) > self._room and len(self._windows) > 1:
            self._ids -= len(self._windows.popitem(last=False)[1])
        return allowance


def _key(taking: Taking) -> tuple[str, str]:
    return taking.subject, taking.rules[0].kind
