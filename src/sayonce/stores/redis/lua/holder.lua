-- Tell who holds a lease, and bound it by its own time, whatever wrote it; what is no lease at all is removed.
-- KEYS[1]  the lease
-- ARGV[1]  the longest that a lease of this kind is held without being renewed, in milliseconds
-- ARGV[2]  how many characters of an owner count
-- returns  the owner; empty when nobody holds it
local holder = redis.pcall('GETRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)
if type(holder) == 'table' or holder == '' then
    redis.call('UNLINK', KEYS[1])
    return ''
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return holder
