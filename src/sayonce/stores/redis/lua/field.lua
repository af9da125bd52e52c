-- Read a field of a hash within a bound in bytes, whatever wrote it.
-- KEYS[1]  the hash
-- ARGV[1]  the field
-- ARGV[2]  how many bytes its value has at most: a longer one is read as an empty one
-- returns  the value; nil where there is none
if redis.call('HSTRLEN', KEYS[1], ARGV[1]) > tonumber(ARGV[2]) then
    return ''
end
return redis.call('HGET', KEYS[1], ARGV[1])
