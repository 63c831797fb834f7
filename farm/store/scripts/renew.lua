-- Prolong a lease. KEYS: root. ARGV: events kept, id, attempt, lease in ms, token.
local id, attempt, lease_ms, token = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local f = redis.call('HMGET', key('job', id), 'state', 'attempt', 'cancel', 'nonce')
if f[1] ~= 'running' or f[2] ~= attempt or not same(f[4] or '', token) then
  it_lives(id, token)
  return 'lost'
end
local lease = digits(now + lease_ms)
redis.call('ZADD', root .. 'leases', lease, id)
redis.call('HSET', key('job', id), 'lease', lease)
return f[3] and 'canceled' or 'ok'
