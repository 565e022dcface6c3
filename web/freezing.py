"""The collector, kept from looking again and again at what stays: thousands of sockets are not looked at for cycles."""

import asyncio
import gc
from collections.abc import Callable

#: Seconds between two looks, and how much more there must be than last time.
_EVERY, _MORE, _FACTOR = 1.0, 500, 1.25


class Freezer:
    """Freezes all there is whenever the number of what stays has grown to a new height.

    What is frozen is freed all the same once nobody refers to it. Only cycles stay: those that are garbage just then, a
    few thousand objects at most, and each time there must be a quarter more.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count, self._mark = count, 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on. Needs a running loop."""
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self.look()
        self.start()

    def look(self) -> bool:
        """Freeze if there is much more than ever; whether it did."""
        count = self._count()
        if count < self._mark * _FACTOR + _MORE:
            return False
        self._mark = count
        gc.freeze()
        return True
