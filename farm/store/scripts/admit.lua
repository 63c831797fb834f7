-- Let one request of a key in, or say how long it has to wait. Many may come at once, then one each interval.
-- KEYS: root. ARGV: events kept, id of the key, interval (µs), how far ahead of it requests may be (µs).
-- Answers 0, or the µs to wait.
local id, interval, ahead = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = clock[1] * 1000000 + clock[2]
local used_up = math.max(tonumber(redis.call('GET', key('rate', id)) or 0), at)
if used_up - at > ahead then return digits(used_up - at - ahead) end
redis.call('SET', key('rate', id), digits(used_up + interval), 'PX', math.ceil((used_up + interval - at) / 1000))
local last = tonumber(redis.call('HGET', root .. 'apikey_used', id) or 0)
-- To the minute is enough, and saves a write for each request.
if now - last > 60000 then redis.call('HSET', root .. 'apikey_used', id, digits(now)) end
return '0'
