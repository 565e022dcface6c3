"""Takes away the people of gateways that have died: any gateway does it, several at once do no harm."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from devconnect.adapters.redis import keys, lua_presence as lua
from devconnect.adapters.redis.calls import Client, Command, ended, run
from devconnect.domain.presence import died_at
from devconnect.ports import metrics as m
from devconnect.ports.metrics import Metrics
from devconnect.ports.roster import Gone
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: People of one round trip.
CHUNK = 250
#: After Redis was away, seconds in which the others may find that their leases are over, and hold up their people: to
#: connect may take each of them one, and the next renewal another. Never longer than a lease.
SETTLE = 4.0


class Sweeper:
    """Sweeps what `look` finds, one after the other, in the background."""

    def __init__(
        self, client: Client, *, lease: float, went: Callable[[Sequence[Gone]], None], metrics: Metrics
    ) -> None:
        self._client = client
        self._lease = lease
        self._went = went
        self._metrics = metrics
        #: Since when Redis has been asked without a break, and when last (time.monotonic).
        self._since: float | None = None
        self._asked = 0.0
        self._task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Sweep no more."""
        if self._task is not None:
            await ended(self._task)

    def lost_touch(self) -> None:
        """Redis couldn't be asked: maybe nobody could."""
        self._since = None

    def look(self, lapsed: Mapping[str, int]) -> None:
        """The leases of these gateways ran out at these times; Redis was asked a moment ago."""
        now = time.monotonic()
        # Whoever stood still may have done so together with everybody else, as machines do that are suspended.
        if self._since is None or now - self._asked > self._lease / 2:
            self._since = now
        self._asked = now
        is_settled = now - self._since >= min(SETTLE, self._lease)
        if lapsed and is_settled and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._sweep(lapsed), name="sweeper")

    async def _sweep(self, lapsed: Mapping[str, int]) -> None:
        try:
            for gateway, until in lapsed.items():
                await self._sweep_gateway(gateway, until)
        except UnavailableError:
            pass  # what is left is found again
        except Exception:
            logger.exception("a gateway that has died can't be swept")

    async def _sweep_gateway(self, gateway: str, until: int) -> None:
        swept = 0
        while True:
            users, seen = await self._next(gateway, until)
            if not users:
                break
            answers = await run(self._client, [leave_command(user, gateway, seen) for user in users])
            await run(self._client, [("SREM", keys.sockets(gateway), *users)])
            swept += len(users)
            self._went(gone_of(users, answers))
            self._metrics.count(m.SWEPT_USERS, by=len(users))
        if seen is None:
            return
        [is_first] = await run(self._client, [lua.FORGET([keys.GATEWAYS], gateway)])
        if is_first:
            self._metrics.count(m.SWEEPS)
            logger.info("gateway %s is over: %d people had sockets there", gateway, swept)

    async def _next(self, gateway: str, until: int) -> tuple[list[str], int | None]:
        """Some who are left there, and when they were last seen; None once the gateway holds them up again."""
        score, users = await run(
            self._client, [("ZSCORE", keys.GATEWAYS, gateway), ("SRANDMEMBER", keys.sockets(gateway), CHUNK)]
        )
        if score is None or int(float(score)) != until:
            return [], None
        return sorted(users), died_at(until, round(self._lease * 1000))


def leave_command(user: str, gateway: str, at: int | None = None) -> Command:
    """The last socket of the user there went at that time; None: now."""
    return lua.LEAVE(keys.here(user), gateway, "" if at is None else at, keys.watched(user))


def gone_of(users: Sequence[str], answers: Sequence[Any]) -> list[Gone]:
    """Those of them who are offline since, by the answers to their `leave_command`."""
    return [Gone(user, int(seen)) for user, seen in zip(users, answers, strict=True) if seen is not None]
