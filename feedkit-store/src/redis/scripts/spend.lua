-- Spends from an allowance (GCRA). KEYS[1] holds the time at which the allowance will be whole
-- again, in microseconds. ARGV: the allowance, the period in which all of it comes back, in
-- microseconds, the cost.
local limit, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now, interval = time[1] * 1000000 + time[2], period / limit
local stored = redis.pcall('GET', KEYS[1])
local full = type(stored) == 'string' and tonumber(stored) or now
-- Nobody waits longer than the period, even if the clock was changed.
full = math.min(math.max(full, now), now + period)
local after = full + cost * interval
local function left(at) return math.max(0, math.floor((now + period - at) / interval + 1e-6)) end
local wait = after - period - now
-- A rounding error must not refuse a cost that the allowance just covers.
if wait > 0.5 then return {0, left(full), math.ceil(wait)} end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.max(1, math.ceil((after - now) / 1000)))
return {1, left(after), 0}
