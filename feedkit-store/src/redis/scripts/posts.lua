-- Returns the counts of some posts. ARGV: prefix, then the posts' ids.
local state = redis.call('HMGET', STATE, 'generation', 'rebuilding')
if state[2] then return {'rebuilding'} end
local kinds = redis.call('SMEMBERS', KINDS)
local ids, keys = {}, {}
for i = 2, #ARGV do
  ids[#ids + 1] = ARGV[i]
  local post = P .. 'post:' .. ARGV[i] .. ':'
  keys[#keys + 1] = post .. 'likes'
  keys[#keys + 1] = post .. 'comments'
  for _, kind in ipairs(kinds) do keys[#keys + 1] = post .. kind .. 's' end
end
local values = {}
for first = 1, #keys, 4000 do
  local some = redis.call('MGET', unpack(keys, first, math.min(first + 3999, #keys)))
  for i = 1, #some do values[#values + 1] = some[i] end
end
return {'posts', kinds, redis.call('HMGET', AUTHORS, unpack(ids)), values}
