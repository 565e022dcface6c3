"""ports.roster.Roster on Redis: one lease for all who have sockets on this gateway."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from devconnect.adapters.redis import keys, lua_presence as lua
from devconnect.adapters.redis.calls import Client, Command, Witness, ended, run
from devconnect.adapters.redis.sweeper import CHUNK, Sweeper, gone_of, leave_command
from devconnect.domain.presence import SOCKETS_MS
from devconnect.events.base import new_id
from devconnect.ports import metrics as m
from devconnect.ports.metrics import Metrics, NoMetrics
from devconnect.ports.roster import Gone, Went
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: A lease is renewed every tenth of it, and every second at least; everybody is said again within this many seconds.
BEATS = 10
LONGEST_BEAT = 1.0
CONFIRM = SOCKETS_MS / 3_000


class Roster:
    """Says who has sockets here, and takes away those of gateways that have died. `start` it, `stop` it at the end.

    Whoever is here is kept under an id that lasts as long as its lease. A lease that was let slip never comes back, so
    whoever takes its people away can't take those who are here again: a gateway that finds its lease over, or its
    people not in Redis as they should be, says all of them again under a new id, and only then lets the old one go.
    """

    def __init__(
        self, client: Client, *, lease: float = 10.0, went: Went | None = None, metrics: Metrics | None = None
    ) -> None:
        """`lease` is in seconds; `went` hears of each who goes offline, once in the whole of the fleet."""
        self._client = client
        self._lease_ms = round(lease * 1000)
        self._beat = min(LONGEST_BEAT, lease / BEATS)
        self._went = went
        self._metrics = metrics or NoMetrics()
        self._sweeper = Sweeper(client, lease=lease, went=self._tell, metrics=self._metrics)
        self._witness = Witness(f"presence of {new_id()}")
        self._id = new_id()
        self._is_new = True
        #: Ids of before, held up until everybody is said again under the new one.
        self._before: list[str] = []
        #: Who is here; who may be in Redis under the id, whoever was said longest ago first; what differs, perhaps.
        self._here: set[str] = set()
        self._said: dict[str, None] = {}
        self._due: dict[str, None] = {}
        self._confirms = 0.0
        self._settled: asyncio.Future[bool] | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        """People who are here."""
        return len(self._here)

    @property
    def gateway(self) -> str:
        """The id of now."""
        return self._id

    async def start(self) -> None:
        """Take a lease, and keep it. Returns after the first try."""
        await self._tick()
        self._task = asyncio.create_task(self._keep(), name="roster")

    async def stop(self) -> None:
        """Say nothing more. The lease runs out by itself: who is on another gateway by then was never gone."""
        self._stopped = True
        if self._task is not None:
            await ended(self._task)
        await self._sweeper.stop()
        self._settle(False)
        if not self._is_new:
            with suppress(UnavailableError):
                await self._renew()

    async def join(self, user: str) -> bool:
        """The user is here; the joins of a loop turn go out together. Whether Redis knows on return."""
        self._here.add(user)
        return await self._say(user)

    async def leave(self, user: str) -> bool:
        """The user is here no more. Whether Redis knows on return."""
        self._here.discard(user)
        return await self._say(user)

    def _say(self, user: str) -> asyncio.Future[bool]:
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        settled = asyncio.shield(self._settled)
        if self._stopped:
            self._settle(False)
        else:
            self._due[user] = None
            self._woken.set()
        return settled

    def _settle(self, is_known: bool) -> None:
        settled, self._settled = self._settled, None
        if settled is not None and not settled.done():
            settled.set_result(is_known)

    async def _keep(self) -> None:
        """Renew the lease at every beat, and say what there is to say in between."""
        now = asyncio.get_running_loop().time
        beat_at = now() + self._beat
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(beat_at):
                    await self._woken.wait()
            self._woken.clear()
            try:
                if now() >= beat_at:
                    beat_at = now() + self._beat
                    await self._tick()
                await self._flush(until=beat_at)
            except Exception:
                logger.exception("who is here can't be said")
                self._settle(False)

    # -- the lease

    async def _tick(self) -> None:
        """Renew the lease, find out what is not as it should be, and whose lease is over."""
        try:
            await self._look()
        except UnavailableError:
            self._sweeper.lost_touch()
            self._settle(False)

    async def _look(self) -> None:
        knows_us = await self._witness.known(self._client)
        held, lapsed, count = await self._renew()
        if not held:
            self._begin_anew("lapsed")
        elif self._is_new:
            await self._witness.tell(self._client)
            self._is_new = False
        elif not knows_us:
            self._begin_anew("restarted")
        elif not self._due and count != len(self._said):
            self._begin_anew("differs")
        if self._is_new:
            return await self._look()
        self._metrics.set(m.SOCKET_USERS, to=len(self._here))
        self._confirm()
        self._sweeper.look(lapsed)
        return None

    async def _renew(self) -> tuple[bool, dict[str, int], int]:
        """Whether the lease is held; whose are over, and since when; how many people are under the id."""
        begins = "1" if self._is_new else ""
        renewal = lua.RENEW([keys.GATEWAYS], self._id, self._lease_ms, begins, *self._before)
        (held, *lapsed), count = await run(self._client, [renewal, ("SCARD", keys.sockets(self._id))])
        untils = [int(float(until)) for until in lapsed[1::2]]
        return bool(held), dict(zip(lapsed[::2], untils, strict=True)), count

    def _begin_anew(self, why: str) -> None:
        """Say everybody again under a new id."""
        logger.warning("those who have sockets here are said again: Redis has %s", _WHY[why])
        self._metrics.count(m.LEASE_LAPSES, why)
        self._before.append(self._id)
        self._id, self._is_new = new_id(), True
        self._said.clear()
        self._due = dict.fromkeys(self._here)
        self._woken.set()

    def _confirm(self) -> None:
        """Have those said again who were said longest ago: all of them once in a while."""
        self._confirms += len(self._said) * self._beat / CONFIRM
        for user in islice(self._said, int(self._confirms)):
            self._due[user] = None
        self._confirms %= 1

    # -- the people

    async def _flush(self, until: float) -> None:
        """Say what there is to say, chunk by chunk, and no longer than that (loop.time)."""
        if self._is_new:
            return
        now = asyncio.get_running_loop().time
        try:
            while self._due and now() < until:
                await self._say_chunk(list(islice(self._due, CHUNK)))
            if not self._due and self._before:
                await run(self._client, [lua.LET_SLIP([keys.GATEWAYS], *self._before)])
                self._before.clear()
        except UnavailableError:
            self._settle(False)
            return
        if self._due:
            self._woken.set()
        else:
            self._settle(True)

    async def _say_chunk(self, users: Sequence[str]) -> None:
        """In an order in which the gateway's set always holds whoever is under it."""
        for user in users:
            del self._due[user]
        try:
            joins = [user for user in users if user in self._here]
            leaves = [user for user in users if user not in self._here and user in self._said]
            # From here on they may be there.
            for user in joins:
                self._said.pop(user, None)
                self._said[user] = None
            sockets, first, then = keys.sockets(self._id), list[Command](), list[Command]()
            if joins:
                first.append(("SADD", sockets, *joins))
                then += [_join_command(user, self._id) for user in joins]
            first += [leave_command(user, self._id) for user in leaves]
            if leaves:
                then.append(("SREM", sockets, *leaves))
            answers = await run(self._client, first) if first else []
            self._tell(gone_of(leaves, answers[len(first) - len(leaves) :]))
            if then:
                await run(self._client, then)
            for user in leaves:
                self._said.pop(user, None)
        except BaseException:
            # Nobody knows what was done; all of it can be done again.
            self._due = {**dict.fromkeys(users), **self._due}
            raise

    def _tell(self, gone: Sequence[Gone]) -> None:
        if not gone or self._went is None:
            return
        try:
            self._went(gone)
        except Exception:
            logger.exception("that people have gone can't be told")


_WHY = {
    "lapsed": "let the lease run out, or lost it",
    "restarted": "been started anew, or a replica has taken over",
    "differs": "others than are here",
}


def _join_command(user: str, gateway: str) -> Command:
    return lua.JOIN(keys.here(user), gateway, SOCKETS_MS, keys.watched(user))
