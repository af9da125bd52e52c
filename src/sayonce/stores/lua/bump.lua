-- Raise a tag's epoch by one, beyond what an instance knows of: a server that lost its data must not repeat epochs.
-- KEYS[1]  the epochs, a hash by tag
-- ARGV[1]  the tag
-- ARGV[2]  the highest epoch of it that the caller knows of
-- returns  the new epoch
local known = math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0), tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', known + 1))
return known + 1
