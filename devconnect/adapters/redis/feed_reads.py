"""Reading people to meet: first a ranking made once and kept for its reader, then everybody else by activity.

What a page costs is bounded by the numbers below and by its length, whatever the number of users.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from devconnect.adapters.redis import cursors, keys
from devconnect.adapters.redis.calls import Client, Command, Script, run, scored
from devconnect.domain.feed import Candidate, ranked
from devconnect.ports.reads import CursorExpiredError, Page
from devconnect.ports.truth import UnavailableError

#: The rarest of the reader's skills: of these people are looked for.
SKILLS = 20
#: A page looks at so many people behind the ranking at most: it may be short, and still have a next one.
SCAN = 5_000
#: Records that are looked at beyond those wanted: few of them turn out to be hidden.
_SPARE = 4
_EPOCH: Command = ("GET", keys.EPOCH)
_SKILLS = msgspec.json.Decoder(tuple[str, ...])

KEEP = Script("""
-- KEYS rankings; ARGV ids, how many rankings are kept, milliseconds to keep them for; returns the name of this one
local time = redis.call('TIME')
local name = time[1] * 1000 + math.floor(time[2] / 1000)
local names = {}
for i, each in ipairs(redis.call('HKEYS', KEYS[1])) do names[i] = tonumber(each) end
table.sort(names)
if #names > 0 and name <= names[#names] then name = names[#names] + 1 end
for i = 1, #names - tonumber(ARGV[2]) + 1 do
  redis.call('HDEL', KEYS[1], string.format('%.0f', names[i]))
end
redis.call('HSET', KEYS[1], string.format('%.0f', name), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return string.format('%.0f', name)
""")

LOOK_UP = Script("""
-- KEYS a hash; ARGV fields, in lines; returns their values. One text is sent for a fraction of what words take.
local fields = {}
for field in string.gmatch(ARGV[1], '[^\\n]+') do fields[#fields + 1] = field end
return redis.call('HMGET', KEYS[1], unpack(fields))
""")


class _Place(NamedTuple):
    """Where a page starts: at `rank` in the ranking, or, where that is None, after `user` and their activity."""

    ranking: str
    rank: int | None
    active: str = "+inf"
    user: str = ""

    def same_as(self, other: "_Place") -> bool:
        """Whether both were active at the same time."""
        return float(self.active) == float(other.active)

    def cursor(self) -> str:
        """The opaque text for it."""
        if self.rank is not None:
            return cursors.encode(f"ranked:{self.ranking}:{self.rank}")
        return cursors.encode(f"active:{self.ranking}:{self.active}:{self.user}")


def _place_of(cursor: str) -> _Place:
    kind, ranking, *rest = cursors.decode(cursor, cursors.RANKED).split(":", 3)
    return _Place(ranking, int(rest[0])) if kind == "ranked" else _Place(ranking, None, *rest)


async def read_feed(
    client: Client, user: str, cursor: str | None, limit: int, skills: Sequence[str]
) -> Page[str] | None:
    """A page, as ports.reads says; None while the index isn't whole, and for a cursor that the database gave."""
    reader = _Reader(client, user, limit)
    try:
        if cursor is None:
            return await reader.first(list(dict.fromkeys(skills)))
        if cursors.is_cursor(cursor, cursors.DATED):
            return None
        return await reader.following(_place_of(cursor))
    except _NotWholeError:
        return None


class _NotWholeError(Exception):
    """Redis isn't complete (any more), or can't keep a ranking."""


class _Reader:
    """One page: `limit` people and one more, who tells that there is a next page."""

    def __init__(self, client: Client, user: str, limit: int) -> None:
        self._client = client
        self._user = user
        self._limit = limit
        self._epoch: str | None = None
        #: Who is on the page, each with the place after them.
        self._found: list[tuple[str, _Place]] = []

    async def first(self, skills: Sequence[str]) -> Page[str]:
        """Rank, keep the ranking, and show its beginning."""
        ids = await self._ranked(skills)
        return await self._page(_Place(await self._keep(ids) if ids else self._none(), 0), ids)

    async def _keep(self, ids: Sequence[str]) -> str:
        kept = (keys.RANKINGS_KEPT, keys.RANKINGS_TTL // timedelta(milliseconds=1))
        try:
            (name,) = await self._ask([KEEP([keys.rankings(self._user)], "\n".join(ids), *kept)])
        except UnavailableError:
            # A Redis that is full, say, still gives all that is read there: only a feed can't be begun in it.
            raise _NotWholeError from None
        return str(name)

    async def following(self, place: _Place) -> Page[str]:
        """The page at a place; CursorExpiredError when its ranking isn't kept any more."""
        key = keys.rankings(self._user)
        used: Command = ("PEXPIRE", key, keys.RANKINGS_TTL // timedelta(milliseconds=1))
        ids, _ = await self._ask([("HGET", key, place.ranking), used])
        if ids is None and place.ranking != self._none():
            raise CursorExpiredError("what this feed was begun with isn't kept any more: start anew")
        return await self._page(place, ids.split("\n") if ids else [])

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, all of them of a Redis that is complete."""
        self._epoch, *answers = await run(self._client, [_EPOCH, *commands])
        if self._epoch is None:
            raise _NotWholeError
        return answers

    def _none(self) -> str:
        """What stands for no ranking where nobody shares a skill, as long as this Redis isn't lost."""
        return f"0{self._epoch}"

    async def _page(self, place: _Place, ids: Sequence[str]) -> Page[str]:
        after: _Place | None = place
        if place.rank is not None:
            await self._from_ranking(place, ids)
            after = _Place(place.ranking, None)
        if after is not None and len(self._found) <= self._limit:
            after = await self._from_everybody(after, set(ids))
        shown = self._found[: self._limit]
        if len(self._found) > self._limit:
            after = shown[-1][1]
        return Page(tuple(user for user, _ in shown), None if after is None else after.cursor())

    async def _ranked(self, skills: Sequence[str]) -> list[str]:
        """The most active of each skill, best first, but for oneself and those with whom anything is or was."""
        active = await self._holders(await self._rarest(skills))
        if not active:
            await self._ask([])
            return []
        names = "\n".join(active)
        relations, held = await self._ask([LOOK_UP([keys.relations(self._user)], names), LOOK_UP([keys.SKILLS], names)])
        return ranked(
            skills,
            [
                Candidate(user, at, _SKILLS.decode(texts))
                for (user, at), texts, relation in zip(active.items(), held, relations, strict=True)
                if texts is not None and relation is None and user != self._user
            ],
        )

    async def _rarest(self, skills: Sequence[str]) -> Sequence[str]:
        if len(skills) <= SKILLS:
            return skills
        counts = await self._ask([("ZCARD", keys.skill(skill)) for skill in skills])
        return [skill for count, skill in sorted(zip(counts, skills, strict=True)) if count][:SKILLS]

    async def _holders(self, skills: Sequence[str]) -> dict[str, float]:
        """The most active of each skill, with their activity."""
        most = keys.RANKED // max(1, len(skills))
        lists = await self._ask([("ZREVRANGE", keys.skill(skill), 0, most - 1, "WITHSCORES") for skill in skills])
        return {user: float(at) for found in lists for user, at in scored(found)}

    async def _from_ranking(self, place: _Place, ids: Sequence[str]) -> None:
        """What the ranking has from there on, up to what is wanted."""
        start, block = place.rank or 0, self._limit + 1 + _SPARE
        while start < len(ids) and len(self._found) <= self._limit:
            part = ids[start : start + block]
            await self._add([(user, _Place(place.ranking, start + n)) for n, user in enumerate(part, 1)])
            start, block = start + block, 2 * block

    async def _from_everybody(self, place: _Place, ranking: Collection[str]) -> _Place | None:
        """Everybody else, downwards; returns where to go on, None at the end."""
        scanned, block = 0, max(100, 2 * self._limit)
        while scanned < SCAN and len(self._found) <= self._limit:
            below: Command = ("ZREVRANGEBYSCORE", keys.ACTIVE, place.active, "-inf", "WITHSCORES", "LIMIT", 0, block)
            (found,) = await self._ask([below])
            read = [_Place(place.ranking, None, at, user) for user, at in scored(found)]
            # Of those in the same place they come by their names, downwards.
            rest = [each for each in read if not (each.same_as(place) and each.user >= place.user)]
            await self._add([(each.user, each) for each in rest if each.user not in ranking])
            if len(read) < block:
                return None
            place = rest[-1] if rest else place
            scanned, block = scanned + block, min(2 * block, SCAN)
        return place

    async def _add(self, places: Sequence[tuple[str, _Place]]) -> None:
        """Put those on the page who may be shown: not oneself, no relation, to be found as of now."""
        if not places:
            return
        names = "\n".join(user for user, _ in places)
        (relations,) = await self._ask([LOOK_UP([keys.relations(self._user)], names)])
        pairs = zip(places, relations, strict=True)
        strangers = [each for each, relation in pairs if relation is None and each[0] != self._user]
        while strangers and (wanted := self._limit + 1 - len(self._found)) > 0:
            part, strangers = strangers[: wanted + _SPARE], strangers[wanted + _SPARE :]
            records = await self._ask([("HMGET", keys.listing(user), "seq", "hidden") for user, _ in part])
            pairs = zip(part, records, strict=True)
            self._found += [each for each, (seq, hidden) in pairs if seq is not None and hidden != "1"]
