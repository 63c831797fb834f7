-- Prolong a lease. KEYS: root. ARGV: events kept, id, attempt, lease in ms.
local id, attempt, lease_ms = ARGV[2], ARGV[3], tonumber(ARGV[4])

local f = redis.call('HMGET', key('job', id), 'state', 'attempt', 'cancel')
if f[1] ~= 'running' or f[2] ~= attempt then return 'lost' end
local lease = digits(now + lease_ms)
redis.call('ZADD', root .. 'leases', lease, id)
redis.call('HSET', key('job', id), 'lease', lease)
return f[3] and 'canceled' or 'ok'
