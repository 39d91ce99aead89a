-- Changes counts, lists and authors. `packed` is MessagePack. It holds the ids of posts whose likes
-- change, by how much they change, and what to add to their trending scores; the names 'ID:KINDs'
-- of other counters, and by how much they change; pairs of post and author; the kinds other than
-- 'like' and 'comment'; and the generation of the scores, if there are any.

-- The weights at the landmarks of successive generations differ by the factor 2^64.
local STEP = 64
-- Maximum number of generations that a score may be ahead of the landmark: a double can hold it.
local AHEAD = 4

local function power(exponent) return 2 ^ math.max(exponent, -1070) end

local function scale(key, factor)
  if redis.call('EXISTS', key) == 1 then redis.call('ZUNIONSTORE', key, 1, key, 'WEIGHTS', factor) end
end

-- Returns the factor for scores of `generation`. Moves the landmark if they are too far ahead of
-- it.
local function align(landmark, generation)
  if not landmark then
    redis.call('HSET', STATE, 'landmark', generation)
    return 1
  end
  if generation > landmark + AHEAD then
    local factor = power(STEP * (landmark - generation))
    scale(TRENDING, factor)
    scale(REST, factor)
    redis.call('HSET', STATE, 'landmark', generation)
    return 1
  end
  return power(STEP * (generation - landmark))
end

-- Reads these counters, or returns which key is not a counter. A missing counter is 0.
local function counts(keys)
  if #keys == 0 then return {} end
  local values, missing = redis.call('MGET', unpack(keys)), {}
  for i, value in ipairs(values) do
    if value then
      local count = tonumber(value)
      if not count or count % 1 ~= 0 then return nil, {'misfit', keys[i], 'string that is not a count'} end
      values[i] = count
    else
      missing[#missing + 1] = keys[i]
      values[i] = 0
    end
  end
  -- MGET also returns nothing for a key of another type.
  if #missing > 0 and redis.call('EXISTS', unpack(missing)) > 0 then
    for _, key in ipairs(missing) do
      local found = misfit(key, 'string')
      if found then return nil, found end
    end
  end
  return values
end

-- Makes the changes, or returns why it changed nothing. With `fresh` it sets the counters, and
-- ignores their old values.
local function change(packed, landmark, fresh)
  local ids, bys, weights, names, others, authors, kinds, generation = unpack(cmsgpack.unpack(packed))
  local likes, keys = #ids, {}
  local members = {}
  for i = 1, likes do
    members[i] = 'post:' .. ids[i]
    keys[i] = P .. members[i] .. ':likes'
  end
  for i = 1, #names do keys[likes + i] = P .. 'post:' .. names[i] end
  if #kinds > 0 then redis.call('SADD', KINDS, unpack(kinds)) end
  local values, refused
  if fresh then
    values = {}
    for i = 1, #keys do values[i] = 0 end
  else
    values, refused = counts(keys)
    if refused then return refused end
  end
  local set = {}
  for i = 1, #keys do
    local count = values[i] + (bys[i] or others[i - likes])
    if count > 9007199254740991 or count < -9007199254740991 then
      return {'misfit', keys[i], 'count too large to be kept'}
    end
    values[i] = count
    set[2 * i - 1], set[2 * i] = keys[i], count
  end

  -- From here on the script writes, and cannot fail half-way.
  if #set > 0 then redis.call('MSET', unpack(set)) end
  if likes > 0 then
    local factor = 1
    if generation then factor = align(tonumber(landmark), generation) end
    local scores, resting = {}, nil
    if not fresh then
      scores = redis.call('ZMSCORE', TRENDING, unpack(members))
      resting = redis.call('EXISTS', REST) == 1 and redis.call('ZMSCORE', REST, unpack(members))
    end
    local top, trending, gone, rest, woken = {}, {}, {}, {}, {}
    for i = 1, likes do
      local member, slept = members[i], resting and resting[i]
      local score = (tonumber(scores[i] or slept) or 0) + weights[i] * factor
      if not (score > -1e308 and score < 1e308) then score = weights[i] * factor end
      if values[i] > 0 then
        top[#top + 1], top[#top + 2] = values[i], member
        trending[#trending + 1], trending[#trending + 2] = score, member
        if slept then woken[#woken + 1] = member end
      else
        -- Without likes the post is in no list, but the next like needs its score.
        gone[#gone + 1] = member
        if score ~= 0 then
          rest[#rest + 1], rest[#rest + 2] = score, member
        elseif slept then
          woken[#woken + 1] = member
        end
      end
    end
    if #top > 0 then
      redis.call('ZADD', TOP, unpack(top))
      redis.call('ZADD', TRENDING, unpack(trending))
    end
    if #gone > 0 then
      redis.call('ZREM', TOP, unpack(gone))
      redis.call('ZREM', TRENDING, unpack(gone))
    end
    if #rest > 0 then redis.call('ZADD', REST, unpack(rest)) end
    if #woken > 0 then redis.call('ZREM', REST, unpack(woken)) end
  end
  if #authors > 0 then redis.call('HSET', AUTHORS, unpack(authors)) end
end
