-- Renew a lease, if it is still the owner's.
-- KEYS[1]  the lease
-- ARGV[1]  the owner
-- ARGV[2]  how long to hold it, in milliseconds
-- returns  1 if it was renewed, else 0
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
