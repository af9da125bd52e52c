-- Write a field of a hash, if it still has the value that the caller has seen.
-- KEYS[1]  the hash
-- ARGV[1]  the field
-- ARGV[2]  the new value; empty: the field is removed
-- ARGV[3]  how many bytes a value has at most: a longer one was seen as an empty one
-- ARGV[4]  the value that it must have; left out: there must be no such field
-- returns  1 if it was written, else 0
local long = redis.call('HSTRLEN', KEYS[1], ARGV[1]) > tonumber(ARGV[3])
local there = long and '' or redis.call('HGET', KEYS[1], ARGV[1])
if there == (ARGV[4] or false) then
    if ARGV[2] == '' then
        redis.call('HDEL', KEYS[1], ARGV[1])
    else
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    end
    return 1
end
return 0
