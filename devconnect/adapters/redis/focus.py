"""ports.focus on Redis: a hash a user, which goes when nothing in it counts any more."""

from collections.abc import Collection, Mapping

from devconnect.adapters.redis import keys, lua
from devconnect.adapters.redis.calls import Client, run, run_all


class RedisFocus:
    """What is on people's screens. Methods raise truth.UnavailableError when Redis can't be asked."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def look_at(self, user: str, device: str, what: str, until: int) -> None:
        """A device has this on screen until then, in milliseconds since 1970, unless it says otherwise before."""
        await run(self._client, [lua.LOOK_AT([keys.focus(user)], device, what, until)])

    async def look_away(self, user: str, device: str) -> None:
        """It has nothing in particular on screen any more."""
        await run(self._client, [("HDEL", keys.focus(user), device)])

    async def on_screen(self, users: Collection[str], now: int) -> Mapping[str, frozenset[str]]:
        """What each of these users has on the screen of any device."""
        wanted = list(users)
        answers = await run_all(self._client, [("HVALS", keys.focus(user)) for user in wanted])
        return {user: _current(found, now) for user, found in zip(wanted, answers, strict=True)}


def _current(found: Collection[str], now: int) -> frozenset[str]:
    looks = (each.rpartition("|") for each in found)
    return frozenset(what for what, _, until in looks if int(until) > now)
