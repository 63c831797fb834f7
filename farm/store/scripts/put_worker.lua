-- Keep what a worker says of itself for a while. KEYS: root. ARGV: events kept, name, status, ms.
redis.call('SET', key('worker', ARGV[2]), ARGV[3], 'PX', ARGV[4])
redis.call('SADD', root .. 'workers', ARGV[2])
local ttl_ms = tonumber(ARGV[4])
local due, roll_call = heard()
if now > due then roll_call = now + ttl_ms end
-- A status is told anew after a third of its life; what was told last of all must not be older than that for long.
redis.call('SET', root .. 'heard', digits(now + math.floor(ttl_ms * 2 / 3)) .. ' ' .. digits(roll_call))
return 1
