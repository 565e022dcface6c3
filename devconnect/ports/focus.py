"""What people have on their screens."""

from collections.abc import Collection, Mapping
from typing import Protocol


class Focus(Protocol):
    """Known as long as a device says so. Raises truth.UnavailableError when it can't be known, or said, now."""

    async def look_at(self, user: str, device: str, what: str, until: int) -> None:
        """A device has this on screen (as delivering.on_screen_of names it) until then, unless it says otherwise."""

    async def look_away(self, user: str, device: str) -> None:
        """It has nothing in particular on screen any more."""

    async def on_screen(self, users: Collection[str], now: int) -> Mapping[str, frozenset[str]]:
        """What each of these users has on the screen of any device."""
