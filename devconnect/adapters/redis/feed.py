"""The index of people to meet: everybody by activity, and the holders of each skill by activity.

Who is where is decided in the user's slot, by one script; the lists are in slots of their own. So an update is carried
out in three steps: the record says what the lists should have (`PLACE`), they are changed, the record notes that it was
done (`SETTLE`). From the first step to the last the record holds every list that may have the user, and how many are
at it. Whoever dies in between leaves that behind, and the repetition of their update, which comes because it wasn't
acknowledged, puts all of it right. Of two that are at it at once, the one whose version was overtaken looks again.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, Command, Script, run_all
from devconnect.domain.feed import DAY_MS, FeedUpdate, HideUser, ListUser, TouchUser, UnlistUser, activity

#: Words of one change of a list. Even: some come in pairs.
_WORDS_A_CALL = 500
#: Milliseconds after which whoever hasn't said that it is done never will.
_DEAD_MS = 60_000

PLACE = Script(
    f"local DAY, DEAD = {DAY_MS}, {_DEAD_MS}"
    + """
-- KEYS record; ARGV list, touch, hide, drop or look; seq; activity; milliseconds that "gone" is kept for;
-- skills (JSON) or, to hide, 0 or 1.
-- Returns nothing where the lists are right; else version, activity, 1 where listed, skills to put in, and to take out
local what, r = ARGV[1], {}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
local function put(field, value)
  r[field] = value
  redis.call('HSET', KEYS[1], field, value)
end
local function newer(field) return tonumber(ARGV[2]) > tonumber(r[field] or '-1') end
local function listed() return r.skills and r.hidden ~= '1' end
local function skills() return listed() and cjson.decode(r.skills) or {} end
local function state() return listed() and r.active .. r.skills or '' end
local before, old = state(), skills()
if what == 'drop' then
  redis.call('HDEL', KEYS[1], 'seq', 'skills', 'active', 'hidden', 'hidden_seq')
  r.skills = nil
  put('gone', '1')
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
elseif not r.gone then
  if what == 'list' and newer('seq') then
    put('seq', ARGV[2])
    put('skills', ARGV[5])
  elseif what == 'hide' and newer('hidden_seq') then
    put('hidden_seq', ARGV[2])
    put('hidden', ARGV[5])
  end
  if what == 'list' or what == 'touch' then
    -- Once a day, and never back: a feed that is read downwards must not meet anybody again.
    local day, last = math.floor(tonumber(ARGV[3]) / DAY), math.floor(tonumber(r.active or '-1') / DAY)
    if day > last then put('active', ARGV[3]) end
  end
end
local after, new = state(), skills()
if what ~= 'look' and before == after and not r.maybe then return false end
local maybe, add, remove = {}, {}, {}
for _, each in ipairs(new) do
  if not maybe[each] then add[#add + 1] = each end
  maybe[each] = true
end
for _, list in ipairs({cjson.decode(r.maybe or '[]'), old, what == 'look' and cjson.decode(ARGV[5]) or {}}) do
  for _, each in ipairs(list) do
    if not maybe[each] then remove[#remove + 1] = each end
    maybe[each] = true
  end
end
local all = {}
for each in pairs(maybe) do all[#all + 1] = each end
put('maybe', cjson.encode(all))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local open = now - tonumber(r.since or '0') > DEAD and 0 or tonumber(r.open or '0')
put('open', open + 1)
put('since', string.format('%.0f', now))
if before ~= after or not r.version then
  -- By the clock: a version from before Redis was wiped must not pass for one of now.
  local version = math.max(time[1] * 1000000 + time[2], tonumber(r.version or '0') + 1)
  put('version', string.format('%.0f', version))
end
return {r.version, r.active or '', listed() and 1 or 0, add, remove}
"""
)

SETTLE = Script("""
-- KEYS record; ARGV version, how many times PLACE gave work. Returns 1 where that isn't the version any more
local version, open = unpack(redis.call('HMGET', KEYS[1], 'version', 'open'))
local left = math.max(0, tonumber(open or '0') - tonumber(ARGV[2]))
if open then redis.call('HSET', KEYS[1], 'open', left) end
if version ~= ARGV[1] then return 1 end
if left == 0 then redis.call('HDEL', KEYS[1], 'maybe', 'open', 'since', 'version') end
return 0
""")

CHANGE = Script("""
-- KEYS a list; ARGV ZADD, ZREM, HSET or HDEL, then in lines what that takes: words by themselves are dear to send
local words = {}
for word in string.gmatch(ARGV[2], '[^\\n]+') do words[#words + 1] = word end
redis.call(ARGV[1], KEYS[1], unpack(words))
""")


class _Work(Struct, frozen=True):
    """What the lists should have of a user, and how many times `PLACE` said so."""

    version: str
    activity: str
    listed: bool
    add: Sequence[str]
    remove: Sequence[str]
    times: int = 1


def place(update: FeedUpdate) -> Command:
    """The first step of an update; its answer is for `carry_out`."""
    match update:
        case ListUser():
            return _place(update.user, "list", update.seq, activity(update.at, update.user), _json(update.skills))
        case TouchUser():
            return _place(update.user, "touch", 0, activity(update.at, update.user))
        case HideUser():
            return _place(update.user, "hide", update.seq, 0, "1" if update.hidden else "0")
        case UnlistUser():
            return _place(update.user, "drop", update.seq)


async def carry_out(client: Client, updates: Sequence[Any], answers: Sequence[Any]) -> None:
    """The other steps, given what the commands of the updates (of any kind) have answered.

    truth.UnavailableError when that can't be done now: repeat the updates.
    """
    pairs = zip(updates, answers, strict=True)
    works = _works([(update.user, answer) for update, answer in pairs if answer and isinstance(update, FeedUpdate)])
    while works:
        await run_all(client, list(_changes(works)))
        settled = await run_all(
            client, [SETTLE([keys.listing(user)], work.version, work.times) for user, work in works.items()]
        )
        again = [user for user, moved in zip(works, settled, strict=True) if moved]
        looks = [_place(user, "look", 0, 0, _json((*works[user].add, *works[user].remove))) for user in again]
        works = _works(list(zip(again, await run_all(client, looks), strict=True)))


def _place(user: str, what: str, seq: int, at: float = 0, told: str = "") -> Command:
    gone = keys.TOMBSTONE_TTL // timedelta(milliseconds=1)
    return PLACE([keys.listing(user)], what, seq, repr(at), gone, told)


def _json(skills: Sequence[str]) -> str:
    return msgspec.json.encode(skills).decode()


def _works(answers: Sequence[tuple[str, Any]]) -> dict[str, _Work]:
    """The last answer of each user: it knows what all before it have asked for."""
    works: dict[str, _Work] = {}
    for user, (version, at, listed, add, remove) in answers:
        before = works.get(user)
        works[user] = _Work(version, at, bool(listed), add, remove, times=before.times + 1 if before else 1)
    return works


def _changes(works: dict[str, _Work]) -> Iterator[Command]:
    changes: dict[tuple[str, str], list[str]] = {}
    for user, work in works.items():
        if work.listed:
            changes.setdefault((keys.ACTIVE, "ZADD"), []).extend((work.activity, user))
            changes.setdefault((keys.SKILLS, "HSET"), []).extend((user, _json(work.add)))
        else:
            changes.setdefault((keys.ACTIVE, "ZREM"), []).append(user)
            changes.setdefault((keys.SKILLS, "HDEL"), []).append(user)
        for skill in work.add:
            changes.setdefault((keys.skill(skill), "ZADD"), []).extend((work.activity, user))
        for skill in work.remove:
            changes.setdefault((keys.skill(skill), "ZREM"), []).append(user)
    for (key, how), words in changes.items():
        for start in range(0, len(words), _WORDS_A_CALL):
            yield CHANGE([key], how, "\n".join(words[start : start + _WORDS_A_CALL]))
