"""What the index of people to meet should be, a model of it, and a Redis in which writers are interleaved and die."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client
from devconnect.domain.feed import FeedUpdate, HideUser, ListUser, TouchUser, UnlistUser, activity, latest
from devconnect.ports.truth import UnavailableError

PREFIX = "dc:feed:"
Index = dict[str, dict[str, float]]


def expected(updates: Iterable[FeedUpdate]) -> Index:
    """The index after the updates, whatever their order: key -> user -> activity."""
    skills: dict[str, ListUser] = {}
    hidden: dict[str, HideUser] = {}
    active: dict[str, float] = {}
    gone = set()
    for update in updates:
        match update:
            case ListUser(user=user):
                skills[user] = max(update, skills.get(user, update), key=lambda each: each.seq)
            case HideUser(user=user):
                hidden[user] = max(update, hidden.get(user, update), key=lambda each: each.seq)
            case UnlistUser(user=user):
                gone.add(user)
        if isinstance(update, ListUser | TouchUser):
            at = activity(update.at, update.user)
            active[update.user] = latest(at, active.get(update.user, at))
    index: Index = {}
    for user, listed in skills.items():
        if user in gone or (user in hidden and hidden[user].hidden):
            continue
        for key in (keys.ACTIVE, *map(keys.skill, listed.skills)):
            index.setdefault(key, {})[user] = active[user]
    return index


async def index_of(client: Client) -> Index:
    """The index as it is."""
    found: Index = {}
    async for key in client.scan_iter(match=f"{PREFIX}*"):
        found[key] = dict(await client.zrange(key, 0, -1, withscores=True))
    return found


async def unsettled(client: Client) -> list[str]:
    """The records whose lists are still being changed, or were left so."""
    found = [key async for key in client.scan_iter(match="dc:{*}:feed")]
    return [key for key in found if await client.hexists(key, "maybe")]


class Turns:
    """Who may go next: writers make a round trip each as the order says; when it is used up, whoever comes."""

    def __init__(self, order: Sequence[int], writers: int) -> None:
        self._order = list(order)
        self._there = set(range(writers))
        self._moved = asyncio.Condition()

    async def take(self, writer: int) -> None:
        """Return when it is this writer's turn, which is over with that."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._next() in (None, writer))
            if self._order:
                self._order.pop(0)
            self._moved.notify_all()

    async def leave(self, writer: int) -> None:
        """This writer takes no more turns."""
        async with self._moved:
            self._there.discard(writer)
            self._moved.notify_all()

    def _next(self) -> int | None:
        while self._order and self._order[0] not in self._there:
            self._order.pop(0)
        return self._order[0] if self._order else None


class Mortal:
    """A client whose round trips wait for their turn, and that dies before or behind the one numbered `dies`."""

    def __init__(self, client: Client, turns: Turns, writer: int, dies: int | None = None) -> None:
        self._client = client
        self._turns = turns
        self._writer = writer
        self._left = dies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, **options: Any) -> Any:
        pipeline = self._client.pipeline(**options)
        execute = pipeline.execute

        async def gated(**how: Any) -> Any:
            await self._turns.take(self._writer)
            self._die()
            answers = await execute(**how)
            self._die()
            return answers

        pipeline.execute = gated
        return pipeline

    def _die(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise UnavailableError("dead")
