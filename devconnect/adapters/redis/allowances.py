"""ports.allowances on Redis: a script a taking, on keys of one slot, so that takings travel with other commands.

The time is Redis' own. Gateways whose clocks differ would let go of one another's entries too early; so there is one
clock for all of them, and what comes back is a length of time, which each measures with its monotonic clock.

Calls that are repeated (a lost script, a connection that broke) count a command's id once; a block may be counted twice
then, and is given to one: less is granted than could be, never more.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, Command, Script, run
from devconnect.domain.allowances import Allowance, Rule
from devconnect.ports.allowances import Allowances, Taking

_RULE = """
-- KEYS a window for each rule, and where there are several (for free, silver, gold) the user
-- ARGV id, then amount, milliseconds, block of each rule
-- returns the rule's number, how many are granted, how many are left, milliseconds until there are more, 1 for a repeat
local rule = 1
if #KEYS > 1 then
  rule = ({free = 1, silver = 2, gold = 3})[redis.call('HGET', KEYS[#KEYS], 'tier') or ''] or 1
end
local key, amount, length = KEYS[rule], tonumber(ARGV[3 * rule - 1]), tonumber(ARGV[3 * rule])
"""

TAKE_ONE = Script(
    _RULE
    + """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - length)
local used, granted, repeated = redis.call('ZCARD', key), 0, 0
if redis.call('ZSCORE', key, ARGV[1]) then
  granted, repeated = 1, 1
elseif used < amount then
  redis.call('ZADD', key, now, ARGV[1])
  redis.call('PEXPIRE', key, length)
  used, granted = used + 1, 1
end
-- The next is free when the oldest leaves; later where the quota has become smaller than what was used.
local first = math.max(0, used - amount)
local leaves = redis.call('ZRANGE', key, first, first, 'WITHSCORES')[2]
return {rule, granted, math.max(0, amount - used), leaves + length - now, repeated}
"""
)

TAKE_BLOCK = Script(
    _RULE
    + """
local left, used = redis.call('PTTL', key), 0
if left > 0 then used = tonumber(redis.call('GET', key)) end
local granted = math.max(0, math.min(tonumber(ARGV[3 * rule + 1]), amount - used))
if left > 0 then
  if granted > 0 then redis.call('INCRBY', key, granted) end
else
  left = length
  redis.call('SET', key, granted, 'PX', length)
end
return {rule, granted, math.max(0, amount - used - granted), left, 0}
"""
)

GIVE_BACK = Script("""
-- KEYS counter
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then redis.call('DECR', KEYS[1]) end
""")


def taking_command(taking: Taking) -> Command:
    """The command that takes: it may travel in a pipeline with others. `read_allowance` reads its answer."""
    subject, rules = taking.subject, taking.rules
    script = TAKE_ONE if rules[0].exact else TAKE_BLOCK
    windows = [keys.limit(subject, rule.kind) for rule in rules]
    if len(rules) > 1:
        windows.append(keys.user(subject))
    return script(windows, taking.id, *_numbers(rules))


@lru_cache(1_000)
def _numbers(rules: tuple[Rule, ...]) -> tuple[int, ...]:
    return tuple(n for rule in rules for n in (rule.quota.amount, rule.quota.seconds * 1000, rule.block))


def read_allowance(taking: Taking, answer: Sequence[Any]) -> Allowance:
    """What the answer to `taking_command` says."""
    number, granted, remaining, wait, repeated = answer
    return Allowance(taking.rules[number - 1], granted, remaining, wait, repeated == 1)


class RedisAllowances(Allowances):
    """Counts in Redis, for all gateways together."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def take(self, takings: Sequence[Taking]) -> list[Allowance]:
        answers = await run(self._client, [taking_command(taking) for taking in takings])
        return [read_allowance(taking, answer) for taking, answer in zip(takings, answers, strict=True)]

    async def give_back(self, takings: Sequence[Taking], *, clear: Sequence[Taking] = ()) -> None:
        cleared: list[Command] = [("DEL", _key(taking)) for taking in clear]
        await run(self._client, [*map(_less, takings), *cleared])


def _key(taking: Taking) -> str:
    (rule,) = taking.rules
    return keys.limit(taking.subject, rule.kind)


def _less(taking: Taking) -> Command:
    return ("ZREM", _key(taking), taking.id) if taking.rules[0].exact else GIVE_BACK([_key(taking)])
