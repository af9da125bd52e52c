-- Write a field of a hash, if it still has the value that the caller has seen.
-- KEYS[1]  the hash
-- ARGV[1]  the field
-- ARGV[2]  the new value; empty: the field is removed
-- ARGV[3]  the value that it must have; left out: there must be no such field
-- returns  1 if it was written, else 0
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there == (ARGV[3] or false) then
    if ARGV[2] == '' then
        redis.call('HDEL', KEYS[1], ARGV[1])
    else
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    end
    return 1
end
return 0
