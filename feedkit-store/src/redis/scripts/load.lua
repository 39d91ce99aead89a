-- Sets totals. ARGV: prefix, token, the number of this load in the shard (from 0), the totals as
-- changes.
local active, loads = rebuilding(ARGV[2])
local number = tonumber(ARGV[3])
if not active then return {'fenced'} end
if loads > number then return {'loaded'} end
if loads < number then return {'lost'} end
local refused = misfits() or change(ARGV[4], redis.call('HGET', STATE, 'landmark'), true)
if refused then return refused end
redis.call('HSET', STATE, 'loads', number + 1)
return {'loaded'}
