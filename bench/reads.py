"""The table of `bench latency`: what people read, from Redis beside the same from MongoDB, through our adapters."""

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct

from bench.quantiles import quantiles
from bench.rig import BenchError
from bench.runs import Say
from devconnect.adapters.mongo.connect import Database, close as close_mongo, connect as connect_mongo
from devconnect.adapters.mongo.layout import ensure_indexes
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.redis.connect import close as close_redis, connect as connect_redis
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.deciding import evolve
from devconnect.domain.model import AnyDocument, Ref, ref_of
from devconnect.domain.presence import LEASE_MS
from devconnect.domain.projections import Update, project
from devconnect.events.base import pair_id, seq_of
from devconnect.events.facts import AnyEvent, MessageSent, Profile, UserCameOnline, UserLoggedIn, UserSignedUp
from devconnect.ports.reads import Reads
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings
from devconnect.stack import Addresses

#: People that are asked for at once, and messages of a conversation.
PAGE = 50
#: There is a conversation for so many people.
PEOPLE_A_TALK = 20
#: Documents written at a time, and seconds that a store may take for so many.
CHUNK, PATIENCE = 1_000, 60.0
#: Reads of each kind that are thrown away first, and that are made of one store before the other has its turn.
WARM_UP, TURN = 50, 25
#: How many times faster the application that this replaces claimed each to be.
CLAIMED = {"session check": 50, "user read": 15, "presence": 20, "history": 20}
NOTES = {
    "presence": "MongoDB doesn't keep presence: beside it stands a read of these people's documents, where the "
    "application that this replaces kept it"
}


class Times(Struct, kw_only=True):
    """One store's."""

    p50_ms: float
    p99_ms: float


class Comparison(Struct, kw_only=True):
    """The same read from both; `speed_up` is p50 of the database over that of the cache."""

    cache: Times
    database: Times
    speed_up: float
    claimed: int
    note: str = ""


class DataSet:
    """Seeded people, each with a session and a device that is here, and conversations of one page each."""

    def __init__(self, people: int, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._at = time.time_ns() // 1_000_000
        self.people = [self._id() for _ in range(people)]
        self.sessions = [self._id() for _ in range(people)]
        self.talks = list(pairwise(self.people))[::PEOPLE_A_TALK]

    def _id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def events(self) -> Iterator[AnyEvent]:
        """What has happened to them."""
        for number, (user, session) in enumerate(zip(self.people, self.sessions, strict=True)):
            head: dict[str, Any] = {"user": user, "at": self._at - number}
            profile = Profile(
                name=f"Person {number}", headline="Compilers", about="Reads parsers. " * 10, skills=("python", "kafka")
            )
            email = f"{number}@example.org"
            yield UserSignedUp(**_place(0), **head, email=email, profile=profile, tier="free", role="member")
            until = self._at + 86_400_000
            yield UserLoggedIn(**_place(1), **head, session=session, expires_at=until, device="bench")
            yield UserCameOnline(**_place(2), **head, session=session, until=self._at + LEASE_MS)
        for one, other in self.talks:
            yield from self._said(one, other)

    def _said(self, one: str, other: str) -> Iterator[MessageSent]:
        previous = 0
        for number in range(PAGE):
            place = _place(number)
            yield MessageSent(
                **place,
                at=self._at + number,
                conversation=pair_id(one, other),
                message=self._id(),
                sender=one,
                recipient=other,
                text="See you at the meet-up on Thursday, then? I will bring the two of you together.",
                previous=previous,
            )
            previous = place["seq"]


def _place(offset: int) -> dict[str, Any]:
    return {"id": f"bench-{offset}", "seq": seq_of(offset)}


class Reading(NamedTuple):
    """One kind of read: of somebody drawn at random, from either store; `right` is what its outcome must be."""

    draw: Callable[[random.Random], Any]
    cache: Callable[[Any], Awaitable[Any]]
    database: Callable[[Any], Awaitable[Any]]
    right: Callable[[Any], bool]


def readings(data: DataSet, cache: Reads, database: Reads) -> dict[str, Reading]:
    """The reads that are compared, by name."""
    accounts = list(zip(data.sessions, data.people, strict=True))
    now = time.time_ns() // 1_000_000
    return {
        "session check": Reading(
            lambda draw: draw.choice(accounts),
            lambda asked: cache.session(*asked),
            lambda asked: database.session(*asked),
            lambda found: None not in found and found[0].user == found[1].id,
        ),
        "user read": Reading(
            lambda draw: [draw.choice(data.people)],
            cache.users,
            database.users,
            lambda found: None not in found,
        ),
        "presence": Reading(
            lambda draw: draw.sample(data.people, PAGE),
            lambda asked: cache.presence(asked, now),
            database.users,
            lambda found: len(found) == PAGE and all(found),
        ),
        "history": Reading(
            lambda draw: pair_id(*draw.choice(data.talks)),
            lambda asked: cache.history(asked, None, PAGE),
            lambda asked: database.history(asked, None, PAGE),
            lambda found: found is not None and len(found.items) == PAGE,
        ),
    }


async def compare(
    settings: Settings, addresses: Addresses, *, people: int, samples: int, say: Say
) -> dict[str, Comparison]:
    """Put so many people into both stores, and read each kind so often from each; nobody else may be at work."""
    data = DataSet(people)
    redis = connect_redis(addresses.redis, socket_timeout=PATIENCE)
    mongo = connect_mongo(addresses.mongo, settings.mongo_db, socket_timeout=PATIENCE)
    try:
        say(f"{people:,} people for the comparison of reads")
        await _fill(data, RedisProjections(redis), mongo)
        found = {}
        for name, reading in readings(data, RedisReads(redis), MongoReads(mongo)).items():
            found[name] = await _compared(name, reading, samples)
            say(f"{name}: {found[name].speed_up:.1f} times")
        return found
    except UnavailableError as error:
        raise BenchError(str(error)) from None
    finally:
        await close_redis(redis)
        await close_mongo(mongo)


async def _fill(data: DataSet, projections: RedisProjections, mongo: Database) -> None:
    updates, documents = effects(data.events())
    await projections.apply(updates)
    if not await projections.complete():
        await projections.declare_complete()
    await ensure_indexes(mongo)
    truth = MongoTruth(mongo, within=PATIENCE)
    for start in range(0, len(documents), CHUNK):
        chunk = documents[start : start + CHUNK]
        await truth.save(chunk, new=[ref_of(document) for document in chunk])


def effects(events: Iterable[AnyEvent]) -> tuple[list[Update], list[AnyDocument]]:
    """What these events leave in Redis, and in MongoDB: as the workers would have it."""
    updates: list[Update] = []
    state: dict[Ref, AnyDocument] = {}
    for event in events:
        updates += project(event)
        state.update((ref_of(document), document) for document in evolve(state, event))
    return updates, list(state.values())


async def _compared(name: str, reading: Reading, samples: int) -> Comparison:
    """The two stores in turns, so that whatever else the machine does is the same to both."""
    draw = random.Random(name)
    times: tuple[list[float], list[float]] = [], []
    for start in range(-WARM_UP, samples, TURN):
        asked = [reading.draw(draw) for _ in range(min(TURN, samples - start))]
        for ask, kept in zip((reading.cache, reading.database), times, strict=True):
            measured = [await _seconds(name, ask, each, reading.right) for each in asked]
            kept.extend(measured if start >= 0 else ())
    cache, database = (Times(p50_ms=half, p99_ms=most) for half, most in map(quantiles, times))
    return Comparison(
        cache=cache,
        database=database,
        speed_up=database.p50_ms / cache.p50_ms,
        claimed=CLAIMED[name],
        note=NOTES.get(name, ""),
    )


async def _seconds(name: str, ask: Callable[[Any], Awaitable[Any]], asked: Any, right: Callable[[Any], bool]) -> float:
    began = time.perf_counter()
    found = await ask(asked)
    seconds = time.perf_counter() - began
    if not right(found):
        raise BenchError(f"{name}: {asked} was answered wrong")
    return seconds
