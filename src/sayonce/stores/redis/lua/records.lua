-- Read leases and the records of their holders, within bounds in number and bytes, whatever wrote them.
-- KEYS     a lease, a holder's records (a stream), the next lease …
-- ARGV[1]  how many characters of an owner count
-- ARGV[2]  how many records of a holder are read at once
-- ARGV[3]  how many bytes a record has at most: a longer one is read as an empty one
-- ARGV[4]  how many bytes are read at once
-- ARGV     after these, for each holder, the position after which to read ('-': from the first)
-- returns  for each holder: the lease's owner, then a position and a record, the next position …
local left = tonumber(ARGV[4])
local answers = {}
for index = 1, #KEYS / 2 do
    -- The lease first: once it is gone, no further record comes.
    local holder = redis.pcall('GETRANGE', KEYS[2 * index - 1], 0, tonumber(ARGV[1]) - 1)
    local answer = {type(holder) == 'table' and '' or holder}
    local from = ARGV[4 + index]
    local found = redis.pcall('XRANGE', KEYS[2 * index], from == '-' and '-' or '(' .. from, '+', 'COUNT', ARGV[2])
    for _, record in ipairs(found) do -- none where it is an error
        local content = record[2] and record[2][2] or ''
        if #content > tonumber(ARGV[3]) then
            content = ''
        end
        left = left - #content
        if left < 0 and #answer > 1 then
            break
        end
        answer[#answer + 1] = record[1]
        answer[#answer + 1] = content
    end
    answers[index] = answer
end
return answers
