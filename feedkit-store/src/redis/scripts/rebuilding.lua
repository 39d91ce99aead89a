-- Returns whether the rebuild with this token is running, and its number of loads. Records a sign
-- of life. A shard that lost a load, for example in a failover, has lost the rebuild.
local function rebuilding(token, loads)
  if misfit(STATE, 'hash') then return false end
  local state = redis.call('HMGET', STATE, 'rebuilding', 'loads')
  if state[1] ~= token then return false end
  local time = redis.call('TIME')
  redis.call('HSET', STATE, 'beat', time[1] * 1000 + math.floor(time[2] / 1000))
  return true, tonumber(state[2])
end
