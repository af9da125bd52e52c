-- Remove what lies under the name of a hash and is none.
-- KEYS[1]  the hash
-- returns  1 if something was removed, else 0
local found = redis.pcall('HLEN', KEYS[1])
if type(found) == 'table' and found.err and string.find(found.err, 'WRONGTYPE') then
    return redis.call('UNLINK', KEYS[1])
end
return 0
