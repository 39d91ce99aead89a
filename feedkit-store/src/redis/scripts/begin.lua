-- Begins a rebuild: removes the counts, and refuses chunks until the rebuild ends. ARGV: prefix,
-- token (empty: a new one), owner, how many milliseconds to wait for another owner's rebuild after
-- its last sign of life.
local token, owner, patience = ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if misfit(STATE, 'hash') then redis.call('UNLINK', STATE) end
if misfit(KINDS, 'set') then redis.call('UNLINK', KINDS) end
local state = redis.call('HMGET', STATE, 'token', 'rebuilding', 'owner', 'beat')
local last = tonumber(state[1] or '0')
if token == '' then
  local silent = now - tonumber(state[4] or '0')
  if state[2] and state[3] ~= owner and silent >= 0 and silent < patience then return {'busy', tostring(silent)} end
  -- The token comes from the clock, so that it differs from those before all data was lost.
  token = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
elseif last > tonumber(token) then
  return {'fenced'}
end
redis.call('UNLINK', FENCES, HOME, AUTHORS, REST, TOP, TRENDING)
redis.call('HDEL', STATE, 'generation', 'incarnation', 'landmark')
redis.call('HSET', STATE, 'token', token, 'rebuilding', token, 'owner', owner, 'beat', now, 'loads', 0)
return {'begun', token}
