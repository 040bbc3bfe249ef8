-- The rule of refold_async.policies.shared_pacing.SharedState.ask, for Redis and Valkey. All times in microseconds.
-- KEYS: state, members, limits. ARGV: see RedisStore.ask. The last one is the time, for tests; else the server's.
local LATE, MEMBER_FOR, KEEP = 20000, 30000000, 3600000
local REJOIN, UNEVEN, QUIET = 750000, 150000, 250000
local member, limit = ARGV[1], ARGV[2]
local era, epoch, held = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local returned, spent, wants = ARGV[6], tonumber(ARGV[7]), ARGV[8] == '1'
local longest, pause, announces = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11] == '1'
local rejoins = ARGV[12] == '1'
local now = tonumber(ARGV[13])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local state = redis.call('HMGET', KEYS[1], 'era', 'epoch', 'last', 'slots', 'paused', 'slowed', 'rate', 'burst', 'opens')
local s_era, s_epoch, last = tonumber(state[1] or now), tonumber(state[2] or now), tonumber(state[3] or now)
local paused, slowed = tonumber(state[5] or 0), tonumber(state[6] or math.huge)
local rate, burst = tonumber(state[7] or 0), tonumber(state[8] or 0)
local opens_at = tonumber(state[9] or 0)
local slots = {}
for slot in string.gmatch(state[4] or '', '%d+') do slots[#slots + 1] = tonumber(slot) end

local function keep(test)
  local kept = {}
  for _, slot in ipairs(slots) do
    if test(slot) then kept[#kept + 1] = slot end
  end
  slots = kept
end
local function void()
  s_epoch = s_epoch + 1
  keep(function(slot) return slot <= math.max(now, opens_at) end)
end
local function current_rate()
  return math.min(rate, slowed + 0.05 * rate * math.max(0, now - paused) / 1000000)
end
local function take_out(given)
  for place, slot in ipairs(slots) do
    if slot == given then
      table.remove(slots, place)
      return
    end
  end
end

local back = last - now -- a clock that is set back lets no time pass
if back > 0 then
  for place, slot in ipairs(slots) do slots[place] = slot - back end
  paused = paused - back
  opens_at = math.max(0, opens_at - back)
  if back > LATE then void() end
end

if announces or era ~= s_era or rate == 0 then
  redis.call('ZADD', KEYS[2], now, member)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. string.format('%.0f', now - MEMBER_FOR))
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now + MEMBER_FOR), '+inf')
  redis.call('HSET', KEYS[3], limit, string.format('%.0f', now))
  rate, burst = math.huge, math.huge
  local limits = redis.call('HGETALL', KEYS[3])
  for place = 1, #limits, 2 do
    if math.abs(now - tonumber(limits[place + 1])) > MEMBER_FOR then
      redis.call('HDEL', KEYS[3], limits[place])
    else
      local a_rate, a_burst = string.match(limits[place], '^(%S+) (%S+)$')
      rate, burst = math.min(rate, tonumber(a_rate)), math.min(burst, tonumber(a_burst))
    end
  end
end

local window = math.ceil(math.ceil(rate) * 1000000 / rate) + LATE
keep(function(slot) return slot > now - window end)

local missing = false -- processes go their own way, or the state was lost
if now >= opens_at then
  if rejoins then
    local span, count = math.max(QUIET, 2000000 / rate), 0
    for _, slot in ipairs(slots) do
      if now - span < slot and slot <= now then count = count + 1 end
    end
    missing = 2000000 * count < span * rate
  else
    missing = era ~= 0 and era ~= s_era and opens_at == 0 and now - s_era <= REJOIN
  end
end
if missing then
  void()
  opens_at = now + REJOIN
  local interval = 1000000 / current_rate()
  slots = {}
  for place = math.ceil(rate) - 1, 0, -1 do slots[#slots + 1] = math.ceil(opens_at - place * interval) end
  for _ = 1, math.floor(rate * UNEVEN / 1000000) do slots[#slots + 1] = opens_at end
end
if era ~= s_era then
  if now >= opens_at then
    for _ = 1, spent do slots[#slots + 1] = now end
    table.sort(slots)
  end
elseif epoch == s_epoch then
  for slot in string.gmatch(returned, '%d+') do take_out(tonumber(slot)) end
end

if pause >= 0 then
  if now >= paused then slowed = math.max(math.min(1, rate), 0.7 * current_rate()) end
  if now + pause > paused then
    paused = now + pause
    void()
  end
end

local go, slot, wait = -1, 0, 0
if held > 0 and epoch == s_epoch then
  if math.abs(held - now) <= LATE then
    go = math.max(0, held - now)
  elseif held > now then
    slot, wait = held, held - now
  else
    take_out(held)
  end
end
if (wants or (held > 0 and go < 0)) and slot == 0 then
  local current = current_rate()
  local interval = 1000000 / current
  local slack = math.max(0, (burst - 1) * 1000000 / rate - LATE)
  local count, most = #slots, math.ceil(rate)
  if current < rate then most = math.max(1, math.floor(most * current / rate)) end
  local at = math.max(now, paused, opens_at)
  for place, taken in ipairs(slots) do
    at = math.max(at, taken, taken + (count - place + 1) * interval - slack)
  end
  if count >= most then at = math.max(at, slots[count - most + 1] + window) end
  at = math.ceil(at)
  wait = at - now
  if longest < 0 or wait <= longest then
    slot = at
    slots[count + 1] = at
  end
end

local texts = {}
for place, each in ipairs(slots) do texts[place] = string.format('%.0f', each) end
redis.call('HSET', KEYS[1], 'era', string.format('%.0f', s_era), 'epoch', string.format('%.0f', s_epoch),
  'last', string.format('%.0f', now), 'slots', table.concat(texts, ' '), 'paused', string.format('%.0f', paused),
  'rate', string.format('%.17g', rate), 'burst', string.format('%.0f', burst),
  'opens', string.format('%.0f', opens_at))
if slowed < math.huge then redis.call('HSET', KEYS[1], 'slowed', string.format('%.17g', slowed)) end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEEP) end
return {s_era, s_epoch, go, slot, wait, redis.call('ZCARD', KEYS[2]), string.format('%.17g', rate), burst, math.max(0, opens_at - now)}
