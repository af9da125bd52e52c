-- Release a lease, if it is still the owner's, and let its records end soon.
-- KEYS[1]  the lease
-- KEYS[2]  the owner's records
-- ARGV[1]  the owner
-- ARGV[2]  how long the records stay, in milliseconds
-- ARGV[3]  how many characters of an owner count
if redis.pcall('GETRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1) == ARGV[1] then
    redis.call('UNLINK', KEYS[1])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.status_reply('OK')
