"""Waiting for what is to come, with a deadline: as soon as it is there the test goes on."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds that anything may take, a command and what follows from it, say. Much more than it does: others run too.
PATIENCE = 40.0


async def until(
    condition: Callable[[], Any], what: str = "it", *, seconds: float = PATIENCE, pause: float = 0.005
) -> Any:
    """What `condition` gives, or what awaiting that gives, as soon as it is true; AssertionError after so many seconds.

    It is looked at every `pause` seconds, or seldomer where that is awaited, which may be much work for others.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found, pause = await found, max(pause, 0.05)
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(pause)


async def until_done(work: Callable[[], Awaitable[T]], *errors: type[Exception], seconds: float = PATIENCE) -> T:
    """What awaiting `work` gives, as soon as it fails with none of these; after so many seconds its error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await work()
        except errors:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], T], seconds: float = PATIENCE, what: str = "the condition") -> T:
    """The same where no loop runs."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.03)
