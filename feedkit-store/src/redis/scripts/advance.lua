-- Records that all shards have counted a chunk. ARGV: prefix, partition, generation, incarnation,
-- the chunk's fence, the fence after it, then the shards that it touched.
local partition, generation, incarnation, from, upto = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local refused = misfits()
if refused then return refused end
local state = redis.call('HMGET', STATE, 'generation', 'rebuilding', 'incarnation')
local stored = redis.call('HGET', HOME, partition)
if state[2] or generation ~= (state[1] or '0') then return {'gap'} end
if state[3] and state[3] ~= incarnation then return {'gap', stored, state[3]} end
local at = stored or '00000000000000000000.0000000000'
if at > from then return {'skipped'} end
if at < from then return {'gap', stored, state[3]} end
local set = {partition, upto}
for i = 7, #ARGV do
  set[#set + 1] = partition .. ':' .. ARGV[i]
  set[#set + 1] = upto
end
redis.call('HSET', HOME, unpack(set))
if not state[3] then redis.call('HSET', STATE, 'incarnation', incarnation) end
return {'applied'}
