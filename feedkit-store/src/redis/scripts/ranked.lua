-- Returns the first posts of a list. ARGV: prefix, 'top' or 'trending', how many.
local list, limit = ARGV[2] == 'top' and TOP or TRENDING, tonumber(ARGV[3])
local state = redis.call('HMGET', STATE, 'generation', 'rebuilding', 'landmark')
if state[2] then return {'rebuilding'} end
local generation = state[1] or '0'
if limit == 0 then return {'ranked', generation, state[3], {}, {}} end
local rows = redis.call('ZREVRANGE', list, 0, limit - 1, 'WITHSCORES')
local count = #rows / 2
if count == limit then
  -- Redis returns members of equal score in descending order. Of the last score, replace them by
  -- the first members.
  local last, above = rows[2 * count], count
  while above > 0 and rows[2 * above] == last do above = above - 1 end
  local ties = redis.call('ZRANGEBYSCORE', list, last, last, 'LIMIT', 0, count - above)
  for i, member in ipairs(ties) do rows[2 * (above + i) - 1] = member end
end
local likes = {}
if list == TRENDING then
  local members = {}
  for i = 1, count do members[i] = rows[2 * i - 1] end
  for first = 1, count, 4000 do
    local some = redis.call('ZMSCORE', TOP, unpack(members, first, math.min(first + 3999, count)))
    for i = 1, #some do likes[#likes + 1] = some[i] end
  end
end
return {'ranked', generation, state[3], rows, likes}
