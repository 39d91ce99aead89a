-- Counts one chunk, or the part of it that belongs to this shard. ARGV: prefix, partition,
-- generation (empty: any), incarnation, the least fence that may be stored, the chunk's fence, the
-- fence after it, the changes.
local partition, generation, incarnation = ARGV[2], ARGV[3], ARGV[4]
local least, from, upto = ARGV[5], ARGV[6], ARGV[7]
local refused = misfits()
if refused then return refused end
local state = redis.call('HMGET', STATE, 'generation', 'rebuilding', 'incarnation', 'landmark')
local stored = redis.call('HGET', FENCES, partition)
if state[2] then return {'gap'} end
if generation ~= '' and generation ~= (state[1] or '0') then return {'gap'} end
if state[3] and state[3] ~= incarnation then return {'gap', stored, state[3]} end
-- Fences are digits of fixed width, so they compare as text.
local at = stored or '00000000000000000000.0000000000'
if at > from then return {'skipped'} end
if at < least then return {'gap', stored, state[3]} end
refused = change(ARGV[8], state[4], false)
if refused then return refused end
redis.call('HSET', FENCES, partition, upto)
if not state[3] then redis.call('HSET', STATE, 'incarnation', incarnation) end
return {'applied'}
