"""What the index of people to meet should be, a model of it, and a Redis in which writers are interleaved and die."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client
from devconnect.domain.feed import DAY_MS, FeedUpdate, HideUser, ListUser, TouchUser, UnlistUser, activity
from devconnect.ports.truth import UnavailableError

PREFIX = "dc:feed:"
Index = dict[str, dict[str, float]]


def differences(index: Index, skills: dict[str, tuple[str, ...]], updates: Sequence[FeedUpdate]) -> str:
    """What is wrong with the index after the updates, whatever their order was; "" when nothing is."""
    listed = _listed(updates)
    if skills != listed:
        return f"{skills}, not {listed}"
    wanted: dict[str, set[str]] = {}
    for user, held in listed.items():
        for key in (keys.ACTIVE, *map(keys.skill, held)):
            wanted.setdefault(key, set()).add(user)
    if {key: set(users) for key, users in index.items()} != wanted:
        return f"{index}, not {wanted}"
    for user in listed:
        places = {users[user] for users in index.values() if user in users}
        if len(places) != 1 or not places <= _last_day(user, updates):
            return f"{user} is at {places}, not one of {_last_day(user, updates)}"
    return ""


def _listed(updates: Iterable[FeedUpdate]) -> dict[str, tuple[str, ...]]:
    """Who is to be found, and by which skills."""
    newest: dict[tuple[type, str], Any] = {}
    for update in updates:
        if not isinstance(update, TouchUser):
            place = (type(update), update.user)
            newest[place] = max(update, newest.get(place, update), key=lambda each: each.seq)
    shown = {user: update.skills for (kind, user), update in newest.items() if kind is ListUser}
    for (kind, user), update in newest.items():
        if kind is UnlistUser or (kind is HideUser and update.hidden):
            shown.pop(user, None)
    return shown


def _last_day(user: str, updates: Iterable[FeedUpdate]) -> set[float]:
    """Every moment of the last day on which somebody was here."""
    moments = {
        activity(each.at, user) for each in updates if isinstance(each, ListUser | TouchUser) and each.user == user
    }
    return {at for at in moments if at // DAY_MS == max(moments) // DAY_MS}


async def index_of(client: Client) -> Index:
    """The index as it is."""
    found: Index = {}
    async for key in client.scan_iter(match=f"{PREFIX}*", _type="ZSET"):
        found[key] = dict(await client.zrange(key, 0, -1, withscores=True))
    return found


async def skills_of(client: Client) -> dict[str, tuple[str, ...]]:
    """Who is to be found, and by which skills, as it is."""
    return {user: tuple(msgspec.json.decode(text)) for user, text in (await client.hgetall(keys.SKILLS)).items()}


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
