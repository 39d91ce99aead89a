-- Removes keys of counters. ARGV: prefix, token, the keys.
if not rebuilding(ARGV[2]) then return {'fenced'} end
if #ARGV > 2 then redis.call('UNLINK', unpack(ARGV, 3)) end
return {'wiped'}
