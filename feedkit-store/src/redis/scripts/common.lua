-- Every script of the counters begins with this. ARGV[1] is the prefix of all keys of the shard,
-- and KEYS[1] its state. The other keys' names begin with the prefix, and so have the state's hash
-- tag in a cluster.
local P, STATE = ARGV[1], KEYS[1]
local FENCES, HOME = P .. 'feedkit:fences', P .. 'feedkit:home'
local AUTHORS, KINDS, REST = P .. 'feedkit:authors', P .. 'feedkit:kinds', P .. 'feedkit:trending:rest'
local TOP, TRENDING = P .. 'top_posts', P .. 'trending_posts'

-- The reply if a key has another type. The script then changes nothing.
local function misfit(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then return {'misfit', key, found} end
end

local function misfits()
  return misfit(STATE, 'hash') or misfit(FENCES, 'hash') or misfit(HOME, 'hash') or misfit(AUTHORS, 'hash')
    or misfit(KINDS, 'set') or misfit(TOP, 'zset') or misfit(TRENDING, 'zset') or misfit(REST, 'zset')
end
