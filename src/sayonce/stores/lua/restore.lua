-- Put back epochs that the server has lost: none of them goes down.
-- KEYS[1]  the epochs, a hash by tag
-- ARGV     a tag, the highest epoch of it that the caller knows of, the next tag …
for place = 1, #ARGV, 2 do
    local known = tonumber(redis.call('HGET', KEYS[1], ARGV[place]) or 0)
    if known < tonumber(ARGV[place + 1]) then
        redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
    end
end
return 1
