"""The scripts: each checks and sets in one step, moves forward only, and touches only the keys passed to it.

Numbers are doubles in Lua: a seq is exact below 2**53. Texts are not compared: Lua would go by the server's locale.
"""

from devconnect.adapters.redis.calls import Script, Witness

#: Known to a server that has been there ever since it was given every log-out there was.
SESSIONS_KNOWN = Witness("every log-out is known here")

LOOK = Script("""
-- KEYS epoch, building; ARGV a fresh mark; returns "" while complete, else the mark of the rebuild that is due
if redis.call('EXISTS', KEYS[1]) == 1 then return '' end
redis.call('SET', KEYS[2], ARGV[1], 'NX')
return redis.call('GET', KEYS[2])
""")

COMPLETE = Script("""
-- KEYS epoch, building; ARGV the mark of the rebuild that has ended ("" for any), now; returns 0 where it was lost
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
""")

PUT_USER = Script("""
-- KEYS user, then whatever goes with a closed account; ARGV seq, then field, value, ...
local seq = tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local stored = redis.call('HGET', KEYS[1], ARGV[i] .. ':seq')
  if not stored or seq > tonumber(stored) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i] .. ':seq', ARGV[1])
  end
end
local newest = redis.call('HGET', KEYS[1], 'seq')
if not newest or seq > tonumber(newest) then
  redis.call('HSET', KEYS[1], 'seq', ARGV[1])
end
for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
""")

PUT_SESSION = Script("""
-- KEYS session; ARGV seq, user, expires_at, milliseconds to keep a session for of which only this is known, then, where
-- they are known, role and ends_at. What has ended keeps its mark, and goes when it would have ended at the latest.
redis.call('HSET', KEYS[1], 'user', ARGV[2])
local stored = redis.call('HGET', KEYS[1], 'seq')
if not stored or tonumber(ARGV[1]) > tonumber(stored) then
  redis.call('HSET', KEYS[1], 'expires_at', ARGV[3], 'seq', ARGV[1])
end
if ARGV[5] then
  redis.call('HSET', KEYS[1], 'role', ARGV[5], 'ends_at', ARGV[6])
  redis.call('PEXPIREAT', KEYS[1], ARGV[6])
elseif redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
""")

END_SESSION = Script("""
-- KEYS session; ARGV user, milliseconds to remember an unknown session for
redis.call('HSET', KEYS[1], 'user', ARGV[1], 'ended', '1')
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
""")

PUT_RELATION = Script("""
-- KEYS relations, listed; ARGV other, seq, state, who (s or o), at (13 digits), channel of the user's presence
local function members(state, who, at)
  local place = at .. ':' .. ARGV[1] .. '|' .. who
  local all = state .. '|all|' .. place
  return {all, state .. (who == 'o' and '|others|' or '|own|') .. place}
end
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local before = 'none'
if stored then
  local seq, state, who, at = string.match(stored, '^(%d+)|(%a+)|(%a)|(%d+)$')
  if tonumber(ARGV[2]) <= tonumber(seq) then return end
  redis.call('ZREM', KEYS[2], unpack(members(state, who, at)))
  before = state
end
redis.call('HSET', KEYS[1], ARGV[1], table.concat({ARGV[2], ARGV[3], ARGV[4], ARGV[5]}, '|'))
for _, member in ipairs(members(ARGV[3], ARGV[4], ARGV[5])) do
  redis.call('ZADD', KEYS[2], 0, member)
end
local counts = {accepted = true, blocked = true, barred = true}
if before ~= ARGV[3] and (counts[before] or counts[ARGV[3]]) then redis.call('PUBLISH', ARGV[6], '?') end
""")

APPEND_MESSAGE = Script("""
-- KEYS messages, positions, changes; ARGV seq, previous, message, how many are kept, milliseconds to keep them for
local last = redis.call('HGET', KEYS[2], 'last')
if last and tonumber(ARGV[1]) <= tonumber(last) then return end
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if newest and tonumber(newest) ~= tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1])  -- something is missing between: what was held is no tail any more
end
local change = redis.call('HGET', KEYS[3], ARGV[1])  -- one that has overtaken the message
local seq, changed = string.match(change or '', '^(%d+)|(.*)$')
if seq then redis.call('HSET', KEYS[3], ARGV[1], seq .. '|') end
redis.call('ZADD', KEYS[1], ARGV[1], changed or ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('HSET', KEYS[2], 'last', ARGV[1])
""")

REPLACE_MESSAGE = Script("""
-- KEYS messages, positions, changes; ARGV place, seq of the change, message, how many are kept, milliseconds
local stored = tonumber(string.match(redis.call('HGET', KEYS[3], ARGV[1]) or '', '^%d+') or '0')
if tonumber(ARGV[2]) <= stored then return end
local held = #redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1]) > 0
if held then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[3])
elseif tonumber(redis.call('HGET', KEYS[2], 'last') or '0') >= tonumber(ARGV[1]) then
  redis.call('HDEL', KEYS[3], ARGV[1])  -- it is not held any more, and won't be again
  return
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2] .. '|' .. (held and '' or ARGV[3]))
redis.call('PEXPIRE', KEYS[3], ARGV[5])
if redis.call('HLEN', KEYS[3]) > tonumber(ARGV[4]) then
  local oldest = tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or '0')
  for _, place in ipairs(redis.call('HKEYS', KEYS[3])) do
    if tonumber(place) < oldest then redis.call('HDEL', KEYS[3], place) end
  end
end
""")

PUT_UNREAD = Script("""
-- KEYS positions, unread, gone; ARGV user, how many of both are kept, then place, 1 where it was deleted, ...
-- Of the newest places beyond what was read each is in one of the two: so their order means nothing.
local read = tonumber(redis.call('HGET', KEYS[1], 'r:' .. ARGV[1]) or '0')
for i = 3, #ARGV, 2 do
  local place = ARGV[i]
  if tonumber(place) > read then
    if ARGV[i + 1] == '1' then
      redis.call('ZREM', KEYS[2], place)
      redis.call('ZADD', KEYS[3], place, place)
    elseif not redis.call('ZSCORE', KEYS[3], place) then
      redis.call('ZADD', KEYS[2], place, place)
    end
  end
end
for _ = ARGV[2] + 1, redis.call('ZCARD', KEYS[2]) + redis.call('ZCARD', KEYS[3]) do
  local new = tonumber(redis.call('ZRANGE', KEYS[2], 0, 0)[1] or 'inf')
  local gone = tonumber(redis.call('ZRANGE', KEYS[3], 0, 0)[1] or 'inf')
  redis.call('ZREMRANGEBYRANK', new < gone and KEYS[2] or KEYS[3], 0, 0)
end
""")

MOVE_POSITION = Script("""
-- KEYS positions, unread, gone; ARGV user, delivered, read
local function move(field, to)
  local stored = tonumber(redis.call('HGET', KEYS[1], field) or '0')
  if tonumber(to) > stored then redis.call('HSET', KEYS[1], field, to) end
end
move('d:' .. ARGV[1], ARGV[2])
move('r:' .. ARGV[1], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[3])
""")

ADD_NOTIFICATION = Script("""
-- KEYS notifications, unread, marks, user; ARGV id, member (id|JSON), how many are kept, how many unread ones
if redis.call('HGET', KEYS[4], 'deleted') == '1' then return end
-- '}' follows '|': what lies between are the members of this id.
local there = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. ARGV[1] .. '|', '(' .. ARGV[1] .. '}', 'LIMIT', 0, 1)
if #there > 0 then return end
redis.call('ZADD', KEYS[1], 0, ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[3]) - 1)
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then return end  -- older than all that are kept: it was here before
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -tonumber(ARGV[4]) - 1)
end
""")

MARK_READ = Script("""
-- KEYS notifications, unread, marks; ARGV at, how many marks are kept, milliseconds to keep them for, then ids
for i = 4, #ARGV do
  local id = ARGV[i]
  local there = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. id .. '|', '(' .. id .. '}', 'LIMIT', 0, 1)
  if redis.call('ZREM', KEYS[2], id) == 0 and #there == 0 then
    redis.call('ZADD', KEYS[3], ARGV[1], id)
    redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -tonumber(ARGV[2]) - 1)
    redis.call('PEXPIRE', KEYS[3], ARGV[3])
  end
end
""")

MARK_SEEN = Script("""
-- KEYS seen, user; ARGV id: of both the one that sorts last stays
if redis.call('HGET', KEYS[2], 'deleted') == '1' then return end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -2)
""")

COUNT_UNSEEN = Script("""
-- KEYS unread, seen; returns how many of the unread ones come after what was seen
local seen = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
return redis.call('ZLEXCOUNT', KEYS[1], seen and ('(' .. seen) or '-', '+')
""")

LOOK_AT = Script("""
-- KEYS focus; ARGV device, what, until: the key goes when nothing in it counts any more
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '|' .. ARGV[3])
local ends = redis.call('PEXPIRETIME', KEYS[1])
if ends < tonumber(ARGV[3]) then redis.call('PEXPIREAT', KEYS[1], ARGV[3]) end
""")

PUT_ROWS = Script("""
-- KEYS rows, names, parts; ARGV name, part, seq, value, ... where the value starts with the seq
for i = 1, #ARGV, 4 do
  local field = ARGV[i] .. '\\0' .. ARGV[i + 1]
  local stored = redis.call('HGET', KEYS[1], field)
  if not stored then
    redis.call('ZADD', KEYS[2], 0, ARGV[i])
    redis.call('SADD', KEYS[3], ARGV[i + 1])
  end
  if not stored or tonumber(ARGV[i + 2]) > tonumber(string.match(stored, '^%d+')) then
    redis.call('HSET', KEYS[1], field, ARGV[i + 3])
  end
end
""")

READ_ROWS = Script("""
-- KEYS rows, names, parts; ARGV where to start, how many names; returns name, part, value, ...
local names = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local parts = redis.call('SMEMBERS', KEYS[3])
local found = {}
for _, name in ipairs(names) do
  local fields = {}
  for i, part in ipairs(parts) do fields[i] = name .. '\\0' .. part end
  for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(fields))) do
    if value then
      found[#found + 1] = name
      found[#found + 1] = parts[i]
      found[#found + 1] = value
    end
  end
end
return found
""")

DROP_ROWS = Script("""
-- KEYS rows, names, parts; ARGV the last name to drop, how many names at most; returns how many were there
local names = redis.call('ZRANGEBYLEX', KEYS[2], '-', '[' .. ARGV[1], 'LIMIT', 0, ARGV[2])
local parts = redis.call('SMEMBERS', KEYS[3])
for _, name in ipairs(names) do
  for _, part in ipairs(parts) do redis.call('HDEL', KEYS[1], name .. '\\0' .. part) end
  redis.call('ZREM', KEYS[2], name)
end
return #names
""")

MOVE_FLOOR = Script("""
-- KEYS floor; ARGV to: forward only
local stored = tonumber(redis.call('GET', KEYS[1]) or '-1')
if tonumber(ARGV[1]) > stored then redis.call('SET', KEYS[1], ARGV[1]) end
""")

MOVE_UPTO = Script("""
-- KEYS upto; ARGV partition, to, what was stored when last seen (-1: nothing); returns what is stored, or -1 for a loss
local stored = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1')
if stored < tonumber(ARGV[3]) then return -1 end
if tonumber(ARGV[2]) > stored then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  return tonumber(ARGV[2])
end
return stored
""")

MOVE_APPLIED = Script("""
-- KEYS applied; ARGV partition, seq, at, ...: each forward only
local function move(field, to)
  local stored = tonumber(redis.call('HGET', KEYS[1], field) or '0')
  if tonumber(to) > stored then redis.call('HSET', KEYS[1], field, to) end
end
for i = 1, #ARGV, 3 do
  move(ARGV[i], ARGV[i + 1])
  move('at:' .. ARGV[i], ARGV[i + 2])
end
""")
