-- Returns how far a shard has counted. ARGV: prefix, partition, and for how many shards to return
-- the recorded fences (0: none).
local partition, shards = ARGV[2], tonumber(ARGV[3])
local refused = misfits()
if refused then return refused end
local state = redis.call('HMGET', STATE, 'generation', 'rebuilding', 'incarnation')
local answer = {'at', state[1] or '0', state[2], state[3], redis.call('HGET', FENCES, partition)}
if shards > 0 then
  local fields = {partition}
  for shard = 0, shards - 1 do fields[#fields + 1] = partition .. ':' .. shard end
  answer[6] = redis.call('HMGET', HOME, unpack(fields))
end
return answer
