-- Keep a job on hold for so long again for its worker; 0 ms lets it go to whoever comes first.
-- KEYS: root. ARGV: events kept, id, worker, ms to hold it. Answers 1 when it is held for that worker.
local id, worker, hold_ms = ARGV[2], ARGV[3], tonumber(ARGV[4])

local f = redis.call('HMGET', key('job', id), 'state', 'held', 'not_before')
if f[1] ~= 'queued' or f[2] ~= worker or not f[3] then return 0 end
redis.call('HSET', key('job', id), 'not_before', now + hold_ms)
redis.call('ZADD', root .. 'due', now + hold_ms, id)
return 1
