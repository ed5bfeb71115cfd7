"""The script that Redis runs for a batch: what ended is settled, then each call takes what it wants, all or nothing.

Redis runs a script as one step and tells the time in it, so all processes go by one clock. Of each counter there are
two keys, with the tag of all of them in front:

* `{tag}:rate:NAME` is the theoretical arrival time of GCRA, in microseconds since 1970. In `{tag}:open-rate:NAME`, a
  sorted set, is for each open charge the arrival time that it led to: so what has come back with time does not come
  back again when the charge is settled.
* `{tag}:quota:NAME` is a hash of what is `spent` and `reserved`, and `since` when Redis has it. In
  `{tag}:open-quota:NAME` is when each open charge expires. It counts as spent then, and is remembered as `late:...` so
  that it can be settled after all.
* `{tag}:open-concurrency:NAME` is when each open charge expires. It is free then.

A charge is open if it is in the set, as `CALL:AMOUNT`. So to take or to settle it a second time does nothing, and a
batch of which nobody knows whether it was run may be sent again. Every key expires: rates a while after their last use,
quotas a while after their period. A quota that is not there is asked for (`MISSING`), and made with what it is told.

A Redis that lost its data has a quota that is begun anew while calls were under way, or as they ended. What one of them
used is in nothing that it is told then, unless it was written down by the time that was read, which is in the hash as
`read`. It is added, once, for which it is remembered as `late:done:...`: when the call ends, or when the quota begins,
until when what was used stands in the hash under that name. What ended so shortly before the reading that it may not
have been written down by then is added, too: it may count twice then, and never not at all. `{tag}:since` is when Redis
began to count at all. Who is told another time than before knows that Redis lost its data, and tells it again what was
settled just before that.

The batch and its answer are in MessagePack, which costs both sides little. Redis's Lua has no other numbers than
doubles: sums are exact up to 2**53, which is 9 million dollars in nano-dollars. Rates are in whole microseconds, as in
`gcra.py`.
"""

from __future__ import annotations

from hashlib import sha1

from ai_gateway.limits.gcra import MOST_WINDOWS

RATE, QUOTA, CONCURRENCY = 1, 2, 3
TAKE, RENEW, LOOK = 1, 2, 3
REFUSED, ADMITTED, MISSING, BROKEN = 0, 1, 2, 3

LONGEST_CALL = 6 * 3600
"""Seconds for which charges are remembered that nobody settles, and for which calls are kept from expiring."""

_NAMES = f"""
local RATE, QUOTA, CONCURRENCY = {RATE}, {QUOTA}, {CONCURRENCY}
local TAKE, RENEW, LOOK = {TAKE}, {RENEW}, {LOOK}
local REFUSED, ADMITTED, MISSING, BROKEN = {REFUSED}, {ADMITTED}, {MISSING}, {BROKEN}
local REMEMBERED = {LONGEST_CALL} * 1e6
local MOST_WINDOWS = {MOST_WINDOWS}
"""

_SCRIPT = """
local NEVER = 400 * 86400e6
local SINCE = KEYS[1]
local LATE = 'late:'
local DONE = LATE .. 'done:'
local MOST_TOLD = 1e18  -- What is more does not come back as an integer.

local batch = cmsgpack.unpack(ARGV[1])
local deadline, given_time, seed, unwritten, entries, settled, wanted = unpack(batch)
local clock = redis.call('TIME')
local time = clock[1] * 1e6 + clock[2]
-- Whoever sent this has given up, and does not count on it any more: Redis was stopped, and found it when it went on.
if deadline > 0 and time > deadline then return cmsgpack.pack({time, 0, true, {}, {}}) end
local now = given_time > 0 and given_time or time
local before_now = string.format('(%.0f', now)  -- Lua's own way to write a number has 14 digits.

local counters = {}
for place, entry in ipairs(entries) do
  local counter = {
    count = KEYS[2 * place], open = KEYS[2 * place + 1], algorithm = entry[1], ceiling = entry[2], window = entry[3],
    ends_at = entry[4], is_soft = entry[5], seed = seed,
  }
  counters[place] = {__index = counter}
end

-- A charge knows what its counter does, and may know better what a quota begins with, and when that was read.
local function read(places, amounts, seeds)
  local charges = {}
  for number, place in ipairs(places) do
    local seed = seeds[number]
    local own = {amount = amounts[number], seed = seed and seed[1], read_at = seed and seed[2]}
    charges[number] = setmetatable(own, counters[place])
  end
  return charges
end

-- The microseconds in which so much of a rate flows back.
local function cost(charge, amount)
  return math.min(math.floor(amount * charge.window / math.max(charge.ceiling, 1)), MOST_WINDOWS * charge.window)
end

local function member_of(call, charge)
  return call .. string.format(':%.0f', charge.amount)
end

local function keep(key, micros)
  redis.call('PEXPIRE', key, math.ceil(micros / 1000))
end

local function lifetime(charge)
  return REMEMBERED + (charge.ends_at > 0 and math.max(charge.ends_at - now, 0) or NEVER)
end

-- When this Redis began to count.
local function begun_at()
  local since = redis.call('GET', SINCE)
  if not since then
    since = string.format('%.0f', time)
    redis.call('SET', SINCE, since, 'PX', NEVER / 1000)
  end
  return tonumber(since)
end

local function set_arrival(charge, arrival)
  redis.call('SET', charge.count, arrival)
  keep(charge.count, math.max(arrival - now, 0) + REMEMBERED)
end

local function spend_expired(charge)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', charge.open, '-inf', before_now, 'LIMIT', 0, 100)) do
    if string.sub(member, 1, #LATE) ~= LATE then
      local amount = tonumber(string.match(member, '%d+$'))
      redis.call('HINCRBY', charge.count, 'reserved', 0 - amount)  -- Of 0, `-amount` would be "-0", which is an error.
      redis.call('HINCRBY', charge.count, 'spent', amount)
      redis.call('ZADD', charge.open, now + REMEMBERED, LATE .. member)
    end
    redis.call('ZREM', charge.open, member)  -- Last: a set that loses its last member is begun anew, and never expires.
  end
end

local function expire(charge)
  if charge.algorithm == RATE then
    redis.call('ZREMRANGEBYSCORE', charge.open, '-inf', now - REMEMBERED)
  elseif charge.algorithm == QUOTA then
    spend_expired(charge)
  else
    redis.call('ZREMRANGEBYSCORE', charge.open, '-inf', before_now)
  end
end

-- Begin a quota with what was spent before, and with what calls used that ended since that was read.
local function begin(charge)
  local spent, read_at = charge.seed, charge.read_at or time
  local since = string.format('%.0f', read_at - unwritten + REMEMBERED)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', charge.open, since, '+inf')) do
    spent = spent + (redis.call('HGET', charge.count, member) or 0)
  end
  redis.call('DEL', charge.count)
  redis.call(
    'HSET', charge.count, 'spent', string.format('%.0f', spent), 'reserved', 0,
    'since', string.format('%.0f', time), 'read', string.format('%.0f', read_at)
  )
  keep(charge.count, lifetime(charge))
  return spent
end

-- How full a counter is: a rate in microseconds until it is empty, the others in what they count. nil: nobody knows.
local function level_of(charge)
  if charge.algorithm == RATE then
    return math.max((tonumber(redis.call('GET', charge.count) or 0)) - now, 0)
  elseif charge.algorithm == CONCURRENCY then
    return redis.call('ZCARD', charge.open)
  end
  local fields = redis.call('HMGET', charge.count, 'spent', 'reserved')
  if fields[1] then return fields[1] + (fields[2] or 0) end
  if charge.seed < 0 then return nil end
  return begin(charge)
end

-- Seconds until a charge would be admitted: nil for now, -1 for nobody knows.
local function wait_for(charge, level)
  if charge.is_soft then return nil end
  if charge.algorithm == RATE then
    if charge.ceiling == 0 then return charge.window / 1e6 end
    -- What there never is room for is admitted when there is nothing else.
    local excess = level + math.min(cost(charge, charge.amount), charge.window) - charge.window
    return excess > 0 and excess / 1e6 or nil
  end
  if level + charge.amount <= charge.ceiling then return nil end
  if charge.ends_at > 0 then return math.max(charge.ends_at - now, 0) / 1e6 end
  return -1
end

local function state_of(charge, level)
  local used, resets_in = level, 0
  if charge.algorithm == RATE then
    used, resets_in = math.ceil(level * charge.ceiling / charge.window), level / 1e6
  elseif charge.ends_at > now then
    resets_in = (charge.ends_at - now) / 1e6
  end
  return {math.min(used, MOST_TOLD), math.max(charge.ceiling - used, 0), resets_in}
end

-- Take a charge that is not open yet, and tell the level after it.
local function take(charge, call, ttl, level)
  local member = member_of(call, charge)
  if charge.algorithm == RATE then
    if redis.call('ZSCORE', charge.open, member) then return level end
    level = level + cost(charge, charge.amount)
    set_arrival(charge, now + level)
    redis.call('ZADD', charge.open, now + level, member)
    keep(charge.open, level + REMEMBERED)
    return level
  end
  local is_new = redis.call('ZADD', charge.open, now + ttl, member) == 1
  if charge.algorithm == CONCURRENCY then
    keep(charge.open, 2 * ttl)
    return is_new and level + 1 or level
  end
  keep(charge.open, lifetime(charge))
  keep(charge.count, lifetime(charge))
  if not is_new then return level end
  redis.call('HINCRBY', charge.count, 'reserved', charge.amount)
  if redis.call('ZREM', charge.open, LATE .. member) == 1 then
    redis.call('HINCRBY', charge.count, 'spent', 0 - charge.amount)
    return level
  end
  return level + charge.amount
end

local function settle_rate(charge, call, actual)
  local member = member_of(call, charge)
  local arrived = redis.call('ZSCORE', charge.open, member)
  if not arrived then return end
  redis.call('ZREM', charge.open, member)
  local change = cost(charge, actual) - cost(charge, charge.amount)
  if change < 0 then change = math.max(change, math.min(now - arrived, 0)) end
  local arrival = redis.call('GET', charge.count)
  if arrival and change ~= 0 then set_arrival(charge, arrival + change) end
end

-- Whether Redis had a charge, at this time, that it knows nothing of now, nor does the quota that was begun anew.
local function was_lost(since, read_at, known_at, ended_at)
  if known_at == 0 then return false end
  since = tonumber(since or 0)
  return known_at < since and tonumber(read_at or since) - unwritten <= ended_at
end

-- Remember a lost charge, by when it ended, and tell whether that is news.
local function remember(charge, member, ended_at)
  local is_new = redis.call('ZADD', charge.open, ended_at + REMEMBERED, DONE .. member) == 1
  keep(charge.open, lifetime(charge))
  return is_new
end

local function settle(charge, call, actual, known_at, ended_at)
  if charge.algorithm == RATE then return settle_rate(charge, call, actual) end
  local member = member_of(call, charge)
  local was_open = redis.call('ZREM', charge.open, member) == 1
  if charge.algorithm == CONCURRENCY then return end
  local spent, since, read_at = unpack(redis.call('HMGET', charge.count, 'spent', 'since', 'read'))
  if not spent then
    if known_at > 0 and remember(charge, member, ended_at) then
      redis.call('HSET', charge.count, DONE .. member, actual)
      keep(charge.count, lifetime(charge))
    end
    return
  end
  -- What was reserved anew while it ended is told again, too, as if it were lost.
  local is_news = was_lost(since, read_at, known_at, ended_at) and remember(charge, member, ended_at)
  if was_open then
    redis.call('HINCRBY', charge.count, 'reserved', 0 - charge.amount)
    redis.call('HINCRBY', charge.count, 'spent', actual)
  elseif redis.call('ZREM', charge.open, LATE .. member) == 1 then
    redis.call('HINCRBY', charge.count, 'spent', actual - charge.amount)
  elseif is_news then
    redis.call('HINCRBY', charge.count, 'spent', actual)
  end
end

local function look_at(charges)
  local levels, missing = {}, {}
  for place, charge in ipairs(charges) do
    expire(charge)
    levels[place] = level_of(charge)
    if not levels[place] then missing[#missing + 1] = place - 1 end
  end
  return levels, missing
end

local function states_of(charges, levels)
  local states = {}
  for place, charge in ipairs(charges) do states[place] = state_of(charge, levels[place]) end
  return states
end

local function answer(mode, call, ttl, charges)
  local levels, missing = look_at(charges)
  if #missing > 0 then return {MISSING, {}, 0, -1, missing} end
  if mode == TAKE then
    for place, charge in ipairs(charges) do
      local wait = wait_for(charge, levels[place])
      if wait and not redis.call('ZSCORE', charge.open, member_of(call, charge)) then
        return {REFUSED, states_of(charges, levels), place - 1, wait, {}}
      end
    end
  end
  if mode ~= LOOK then
    for place, charge in ipairs(charges) do levels[place] = take(charge, call, ttl, levels[place]) end
  end
  return {ADMITTED, states_of(charges, levels), 0, -1, {}}
end

-- What is in the errors of one thing alone: its keys hold something else, or it has numbers that are none here. All
-- others come from what Redis is or may, and end the batch.
local ITS_OWN = {'WRONGTYPE', 'not an integer', 'not a valid float', 'overflow', 'invalid expire', 'attempt to '}

local function is_its_own(message)
  for _, words in ipairs(ITS_OWN) do
    if string.find(message, words, 1, true) then return true end
  end
  return false
end

-- Do a thing. One that cannot be done spoils no other. It may be half done: whoever sent it settles it by nothing.
local broken = {}
local function attempt(thing, ...)
  local is_done, result = pcall(thing, ...)
  if is_done then return result end
  local message = type(result) == 'table' and result.err or result
  if not is_its_own(message) then error(result, 0) end
  broken[#broken + 1] = message
  return {BROKEN, {}, 0, -1, {}}
end

local since = begun_at()
for _, each in ipairs(settled) do
  local call, places, amounts, used, known, ended_at = unpack(each)
  for number, charge in ipairs(read(places, amounts, {})) do
    attempt(settle, charge, call, used[number], known[number] or 0, ended_at)
  end
end
local answers = {}
for number, each in ipairs(wanted) do
  local mode, call, ttl, places, amounts, seeds = unpack(each)
  answers[number] = attempt(answer, mode, call, ttl, read(places, amounts, seeds))
end
return cmsgpack.pack({time, since, false, answers, broken})
"""

SCRIPT = (_NAMES + _SCRIPT).encode()
"""What is asked is `[deadline, time, seed, unwritten, counters, settled, wanted]`: until when the answer is waited for
and what time it is (0: as Redis says), what a quota begins with of which nothing is known (-1: that has to be asked
for), and for how long a call that ended may not be written down. All times are in microseconds, moments since 1970.

A counter is `[algorithm, ceiling, window, ends_at, is_soft]`, as in `charges.py`. They are in the order of their keys,
of which each has two, behind that of `since`; and are named by their places in it. Settled is `[call, counters,
amounts, used, known, ended]`: when Redis was known to have each charge (0 or missing: nobody knows), and when the call
ended. Wanted is `[mode, call, ttl, counters, amounts, seeds]`; a reservation lives `ttl` microseconds. A seed is
`[spent, read]`, with when that was read, and may be missing or null.

What is answered is `[time, since, is_late, answers, broken]`, with when Redis began to count. There is an answer for
each wanted, `[code, states, refused, retry_after, missing]`, and broken are the errors of what could not be done."""

DIGEST = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
"""By which Redis knows the script."""
