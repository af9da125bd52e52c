-- Read a hash within bounds in number and bytes, whatever wrote it.
-- KEYS[1]  the hash
-- ARGV[1]  how many fields it has at most
-- ARGV[2]  how many bytes the name of a field has at most: one with a longer name is left out
-- ARGV[3]  how many bytes a value has at most: a longer one is read as an empty one
-- ARGV[4]  how many bytes its names and values have at most together, without those that are too long
-- returns  a field and its value, the next field …; nothing but 'fields' or 'bytes' where there are more of them
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then
    return {'fields'}
end
local left, kept, long = tonumber(ARGV[4]), {}, {}
local whole = true
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    if #name > tonumber(ARGV[2]) then
        whole = false
    else
        local length = redis.call('HSTRLEN', KEYS[1], name)
        if length > tonumber(ARGV[3]) then
            whole, long[name], length = false, true, 0
        end
        kept[#kept + 1] = name
        left = left - #name - length
        if left < 0 then
            return {'bytes'}
        end
    end
end
if whole then
    return redis.call('HGETALL', KEYS[1])
end
local found = {}
for _, name in ipairs(kept) do
    found[#found + 1] = name
    found[#found + 1] = long[name] and '' or redis.call('HGET', KEYS[1], name)
end
return found
