-- Ends a rebuild. ARGV: prefix, token, incarnation, the number of loads, the number of the
-- following pairs (from the first) whose partition has its home here, then pairs of partition and
-- fence.
local token, incarnation, homes = ARGV[2], ARGV[3], tonumber(ARGV[5])
local done = redis.call('HMGET', STATE, 'generation', 'rebuilding')
if done[1] == token and not done[2] then return {'finished'} end
local active, loads = rebuilding(token)
if not active then return {'fenced'} end
if loads ~= tonumber(ARGV[4]) then return {'lost'} end
local refused = misfits()
if refused then return refused end
for i = 6, #ARGV, 2 do
  redis.call('HSET', FENCES, ARGV[i], ARGV[i + 1])
  if i < 6 + 2 * homes then redis.call('HSET', HOME, ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', STATE, 'generation', token, 'incarnation', incarnation)
redis.call('HDEL', STATE, 'rebuilding', 'owner', 'beat', 'loads')
return {'finished'}
