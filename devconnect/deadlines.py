"""Deadlines for waits that come by the thousand: one timer for all of them, where asyncio.timeout arms one for each."""

import asyncio
from collections import deque
from types import TracebackType


class Within:
    """`with within():` as `async with asyncio.timeout(seconds):`, at most a tenth later. For one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: Those that have begun, the one that ends first in front; some are over already.
        self._waits: deque[_Wait] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> "_Wait":
        """What is to be entered once, by the task that waits."""
        return _Wait(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, looked up once: Python asks the system each time."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def begin(self, wait: "_Wait") -> None:
        """For a wait that is entered."""
        waits = self._waits
        while waits and waits[0].task is None:
            waits.popleft()
        loop = self.loop
        wait.ends = loop.time() + self._seconds
        waits.append(wait)
        if self._timer is None:
            self._timer = loop.call_at(wait.ends, self._look)

    def _look(self) -> None:
        """End those whose time is over, and come back when the next one's may be."""
        loop = self.loop
        now = loop.time()
        waits = self._waits
        while waits and (waits[0].task is None or waits[0].ends <= now):
            waits.popleft().expire()
        self._timer = loop.call_at(max(waits[0].ends, now + self._seconds / 10), self._look) if waits else None


class _Wait:
    """One wait: TimeoutError in place of the cancellation that its deadline has brought about."""

    __slots__ = ("_cancelling", "_is_expired", "_within", "ends", "task")

    def __init__(self, within: Within) -> None:
        self._within = within
        self._cancelling, self._is_expired = 0, False
        #: Who waits; None before and afterwards.
        self.task: asyncio.Task[object] | None = None
        self.ends = 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task(self._within.loop)
        if task is None:
            raise RuntimeError("only a task can be given a deadline")
        self.task, self._cancelling = task, task.cancelling()
        self._within.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        # Whoever was cancelled by somebody else, too, ends as cancelled.
        if (
            self._is_expired
            and task is not None
            and task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise TimeoutError from error

    def expire(self) -> None:
        """The time is over."""
        if self.task is not None:
            self._is_expired = True
            self.task.cancel()
