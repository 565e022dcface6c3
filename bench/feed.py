"""`bench feed`: what a page of people to meet costs among few users, and among many."""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import uvloop
from msgspec import Struct

from bench.rig import BenchError, own_folder, valkey
from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Pooled
from devconnect.adapters.redis.connect import close, connect
from devconnect.adapters.redis.cursors import LIMIT
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.feed import DAY_MS, ListUser
from devconnect.domain.projections import PutRelation, Update
from devconnect.ports.reads import Page

#: The skill of rank r is held as often as r**-_STEEPNESS says; with that many a person a third hold the first one.
SKILLS = 2_000
_STEEPNESS = 0.8
_A_PERSON = (3, 12)
#: People were last here within so many days before this time.
DAYS = 90
NOW = 1_700_000_000_000
#: Updates that are applied at once, as a busy projections worker has them.
BATCH = 5_000
#: People that each reader has something with already.
RELATIONS = 50
#: Pages that follow a first one and are measured, within the ranking, and behind it.
FOLLOWING, BEHIND = 4, 2
#: Readers that are thrown away first, of each size.
WARM_UP = 10

Say = Callable[[str], None]
KINDS = ("first", "following", "behind")


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for: sizes, readers of each, people a page."""

    users: tuple[int, ...]
    readers: int
    limit: int
    seed: int


class Pages(Struct, frozen=True, kw_only=True):
    """Pages of one kind: milliseconds, and means a page.

    `reader_ms` and `redis_ms` are processor time of the one who reads and of Redis: other work on the machine shows
    there less than in how long a page takes. `commands` are those that Redis counts, within scripts, too.
    """

    p50_ms: float
    p99_ms: float
    reader_ms: float
    redis_ms: float
    people: float
    commands: float
    samples: int


class Size(Struct, frozen=True, kw_only=True):
    """One number of users; `ranked` people are in a ranking on average, `popular` of all have the first skill."""

    users: int
    fill_seconds: float
    #: Processor seconds of both while it was filled.
    fill_processor_seconds: float
    memory_mb: int
    popular: float
    ranked: float
    first: Pages
    following: Pages
    behind: Pages


class Sample(NamedTuple):
    """One page: seconds that it took, processor seconds of the reader and of Redis, people, commands."""

    took: float
    reader: float
    redis: float
    people: int
    commands: int


class Feed(Struct, frozen=True, kw_only=True):
    """All sizes, and the figures of the largest over those of the smallest: "first p50" and so on."""

    sizes: tuple[Size, ...]
    ratios: dict[str, float]


class People:
    """Seeded people with skills."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._weights = list(accumulate(rank**-_STEEPNESS for rank in range(1, SKILLS + 1)))

    def listed(self, count: int) -> Iterator[ListUser]:
        """So many of them, as their sign-ups list them."""
        for number in range(count):
            at = NOW - self._random.randrange(DAYS * DAY_MS)
            yield ListUser(f"{self._random.getrandbits(128):032x}", self.skills(), at, 256 * (number + 1))

    def skills(self) -> tuple[str, ...]:
        """What one person says to know."""
        drawn = self._random.choices(range(SKILLS), cum_weights=self._weights, k=self._random.randint(*_A_PERSON))
        return tuple(f"skill-{rank}" for rank in dict.fromkeys(drawn))


class World:
    """A Redis with people in it, and the readers among them."""

    def __init__(self, address: str, options: Options, users: int) -> None:
        self.users = users
        self._options = options
        self._client: Pooled = connect(address, socket_timeout=30.0)
        self._reads = RedisReads(self._client)
        self._readers: list[ListUser] = []
        self._seconds = self._busy = 0.0
        self._asking = 0.0
        self._found: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
        self._ranked: list[int] = []

    async def fill(self) -> None:
        """List everybody through the projections, batch by batch; then the readers meet some of them."""
        projections = RedisProjections(self._client)
        drawing = random.Random(self._options.seed)
        wanted = set(drawing.sample(range(self.users), min(self.users, self._options.readers + WARM_UP)))
        some: list[str] = []
        batch: list[Update] = []
        for number, person in enumerate(People(self._options.seed).listed(self.users)):
            batch.append(person)
            if number in wanted:
                self._readers.append(person)
            if number % max(1, self.users // 5_000) == 0:
                some.append(person.user)
            if len(batch) == BATCH or number == self.users - 1:
                began, busy = time.monotonic(), time.process_time()
                await projections.apply(batch)
                self._seconds += time.monotonic() - began
                self._busy += time.process_time() - busy
                batch.clear()
        for person in self._readers:
            await projections.apply([_relation(person.user, other) for other in drawing.sample(some, RELATIONS)])
        await projections.declare_complete()
        self._busy += (await self._redis())[0]
        await self.settle()

    async def read(self, number: int) -> None:
        """All pages of one reader."""
        reader = self._readers[number]
        page = await self._timed("first", reader, None)
        for _ in range(FOLLOWING):
            page = await self._timed("following", reader, page.next)
        (ids,) = await self._client.hvals(keys.rankings(reader.user))
        self._ranked.append(len(str(ids).split("\n")))
        limits = range(0, keys.RANKED, LIMIT)
        for _ in limits:
            page = await self._page(reader, page.next, LIMIT)
        for _ in range(BEHIND):
            page = await self._timed("behind", reader, page.next)
        await self._client.delete(keys.rankings(reader.user))

    async def _timed(self, kind: str, reader: ListUser, cursor: str | None) -> Page[str]:
        used, commands = await self._redis()
        began, busy = time.perf_counter(), time.process_time()
        page = await self._page(reader, cursor, self._options.limit)
        took, busy = time.perf_counter() - began, time.process_time() - busy
        after = await self._redis()
        # The questions themselves count, too.
        sample = Sample(took, busy, after[0] - used - self._asking, len(page.items), after[1] - commands - 1)
        self._found[kind].append(sample)
        return page

    async def _page(self, reader: ListUser, cursor: str | None, limit: int) -> Page[str]:
        page = await self._reads.feed(reader.user, cursor, limit, reader.skills)
        if page is None or page.next is None:
            raise BenchError("the feed ended too soon: ask for more users")
        return page

    async def _redis(self) -> tuple[float, int]:
        """Processor seconds that Redis has had, and commands."""
        facts: dict[str, Any] = await self._client.info("stats", "cpu")
        return facts["used_cpu_user"] + facts["used_cpu_sys"], int(facts["total_commands_processed"])

    async def settle(self) -> None:
        """Find out what a look at Redis costs it."""
        looks = [(await self._redis())[0] for _ in range(100)]
        self._asking = statistics.median(after - before for before, after in pairwise(looks))

    def forget(self) -> None:
        """Throw away what was measured."""
        self._ranked.clear()
        for found in self._found.values():
            found.clear()

    async def summed_up(self) -> Size:
        """The figures."""
        facts: dict[str, Any] = await self._client.info("memory")
        return Size(
            users=self.users,
            fill_seconds=self._seconds,
            fill_processor_seconds=self._busy,
            memory_mb=int(facts["used_memory"]) >> 20,
            popular=await self._client.zcard(keys.skill("skill-0")) / self.users,
            ranked=statistics.mean(self._ranked),
            **{kind: _pages(found) for kind, found in self._found.items()},
        )

    async def close(self) -> None:
        await close(self._client)


def _relation(user: str, other: str) -> PutRelation:
    return PutRelation(user, other, "accepted", other, NOW, 256)


def _pages(found: Sequence[Sample]) -> Pages:
    seconds = [each.took for each in found]
    return Pages(
        p50_ms=statistics.median(seconds) * 1000,
        p99_ms=statistics.quantiles(seconds, n=100, method="inclusive")[98] * 1000,
        reader_ms=statistics.mean(each.reader for each in found) * 1000,
        redis_ms=statistics.mean(each.redis for each in found) * 1000,
        people=statistics.mean(each.people for each in found),
        commands=statistics.mean(each.commands for each in found),
        samples=len(found),
    )


def ratios(sizes: Sequence[Size]) -> dict[str, float]:
    """Of each kind of page the largest size's figures over the smallest size's."""
    few = min(sizes, key=lambda size: size.users)
    many = max(sizes, key=lambda size: size.users)
    found: dict[str, float] = {}
    for kind in KINDS:
        small, large = getattr(few, kind), getattr(many, kind)
        found[f"{kind} p50"] = large.p50_ms / small.p50_ms
        found[f"{kind} p99"] = large.p99_ms / small.p99_ms
        found[f"{kind} processor"] = (large.reader_ms + large.redis_ms) / (small.reader_ms + small.redis_ms)
        found[f"{kind} commands"] = large.commands / small.commands
    return found


def run(options: Options, say: Say) -> Feed:
    """The whole benchmark, a Valkey of its own for each size."""
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        addresses = [stack.enter_context(valkey(folder / str(users))) for users in options.users]
        return uvloop.run(_measure(addresses, options, say))


async def _measure(addresses: Sequence[str], options: Options, say: Say) -> Feed:
    worlds = [World(address, options, users) for address, users in zip(addresses, options.users, strict=True)]
    try:
        for world in worlds:
            say(f"listing {world.users:,} people")
            await world.fill()
        say(f"{options.readers} readers of each size, in turn")
        for number in range(WARM_UP + options.readers):
            if number == WARM_UP:
                for world in worlds:
                    world.forget()
            for world in worlds:
                await world.read(number)
        sizes = tuple([await world.summed_up() for world in worlds])
        return Feed(sizes=sizes, ratios=ratios(sizes))
    finally:
        for world in worlds:
            await world.close()
