"""The scripts of presence: devices, sockets and audiences fold into one string, and who watches is told of changes.

They go by Redis's own clock, so that gateways whose clocks differ agree on whose lease is over. What is published is a
hint to look: "1:<at>" somebody came, "0:<seen>" went, "?" who may see them has changed.
"""

from devconnect.adapters.redis.calls import Script

_CLOCK = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

#: As domain.presence has it: of all that are here, whichever is for longest stands for them.
_FOLD = (
    _CLOCK
    + """
-- KEYS presence, online, gateways, user; returns whether somebody was here, whether they are, and when last
local function fold(now, channel)
  local latest, seen, audience = 0, 0, 'c'
  local kept = redis.call('HGETALL', KEYS[1])
  for i = 1, #kept, 2 do
    local field, value = kept[i], kept[i + 1]
    if field == 'seen' or field == 'heard' then
      seen = math.max(seen, tonumber(value))
    elseif field == 'audience' then
      audience = value
    elseif string.sub(field, 1, 2) == 'd:' then
      latest = math.max(latest, tonumber(string.match(value, '^%d+')))
    end
  end
  for _, till in ipairs(redis.call('HVALS', KEYS[3])) do latest = math.max(latest, tonumber(till)) end
  local was = tonumber(string.match(redis.call('GET', KEYS[2]) or '', '^%d+') or '0') > now
  redis.call('SET', KEYS[2], string.format('%.0f:%.0f:%s', latest, seen, audience))
  local is = latest > now
  local last = string.format('%.0f', is and now or math.max(latest, seen))
  if was ~= is then redis.call('PUBLISH', channel, (is and '1:' or '0:') .. last) end
  return was, is, last
end
-- forward only
local function hear(at)
  if at > tonumber(redis.call('HGET', KEYS[1], 'heard') or '0') then
    redis.call('HSET', KEYS[1], 'heard', string.format('%.0f', at))
  end
end
"""
)

SET_PRESENCE = Script(
    _FOLD
    + """
-- ARGV device, until, at, seq, milliseconds that a device is kept for, channel
if redis.call('HGET', KEYS[4], 'deleted') == '1' then return end
local field = 'd:' .. ARGV[1]
local stored = redis.call('HGET', KEYS[1], field)
if not stored or tonumber(ARGV[4]) > tonumber(string.match(stored, ':(%d+):')) then
  redis.call('HSET', KEYS[1], field, ARGV[2] .. ':' .. ARGV[4] .. ':' .. ARGV[3])
end
local seen = redis.call('HGET', KEYS[1], 'seen')
if not seen or tonumber(ARGV[3]) > tonumber(seen) then
  redis.call('HSET', KEYS[1], 'seen', ARGV[3])
  local forget = tonumber(ARGV[3]) - tonumber(ARGV[5])
  local devices = redis.call('HGETALL', KEYS[1])
  for i = 1, #devices, 2 do
    local till, at = string.match(devices[i + 1], '^(%d+):%d+:(%d+)$')
    if till and tonumber(till) < forget and tonumber(at) < forget then
      redis.call('HDEL', KEYS[1], devices[i])  -- it was here before `seen`, which says as much
    end
  end
end
fold(clock(), ARGV[6])
"""
)

SET_AUDIENCE = Script("""
-- KEYS presence, online; ARGV audience (its first letter), seq, channel
local stored = redis.call('HGET', KEYS[1], 'audience:seq')
if stored and tonumber(ARGV[2]) <= tonumber(stored) then return end
redis.call('HSET', KEYS[1], 'audience', ARGV[1], 'audience:seq', ARGV[2])
local here, audience = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+:%d+:)(%a)$')
if here and audience ~= ARGV[1] then
  redis.call('SET', KEYS[2], here .. ARGV[1])
  redis.call('PUBLISH', ARGV[3], '?')
end
""")

JOIN = Script(
    _FOLD
    + """
-- ARGV gateway, milliseconds that it is believed for, channel: it has sockets of theirs
if redis.call('HGET', KEYS[4], 'deleted') == '1' then return end
local now = clock()
redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[3], ARGV[2])
hear(now)
fold(now, ARGV[3])
"""
)

LEAVE = Script(
    _FOLD
    + """
-- ARGV gateway, when its last socket of theirs went ("" now), channel; returns when they were last seen if they went
if redis.call('HDEL', KEYS[3], ARGV[1]) == 0 then return end
if redis.call('HGET', KEYS[4], 'deleted') == '1' then
  redis.call('PUBLISH', ARGV[3], '?')
  return
end
local now = clock()
hear(math.min(now, tonumber(ARGV[2]) or now))
local was, is, last = fold(now, ARGV[3])
if was and not is then return last end
"""
)

RENEW = Script(
    _CLOCK
    + """
-- KEYS gateways; ARGV gateway, milliseconds of a lease, 1 to begin with it, ids to hold up while their people move.
-- Returns 1 while it has its lease, else 0: one that was let slip never comes back; then id, until, ... of those.
local now = clock()
local till = redis.call('ZSCORE', KEYS[1], ARGV[1])
local held = (till and tonumber(till) > now) or (not till and ARGV[3] == '1')
local to = string.format('%.0f', now + ARGV[2])
if held then
  redis.call('ZADD', KEYS[1], to, ARGV[1])
  for i = 4, #ARGV do redis.call('ZADD', KEYS[1], to, ARGV[i]) end
end
local found = {held and 1 or 0}
for _, each in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'WITHSCORES')) do
  found[#found + 1] = each
end
return found
"""
)

LET_SLIP = Script(
    _CLOCK
    + """
-- KEYS gateways; ARGV gateways: their leases are over, and whoever is left there is taken away
for _, id in ipairs(ARGV) do redis.call('ZADD', KEYS[1], string.format('%.0f', clock()), id) end
"""
)

FORGET = Script(
    _CLOCK
    + """
-- KEYS gateways; ARGV gateway, nobody of whose is left; returns 1 to the first who says so
local till = redis.call('ZSCORE', KEYS[1], ARGV[1])
if till and tonumber(till) <= clock() then return redis.call('ZREM', KEYS[1], ARGV[1]) end
"""
)
