-- What a webhook's receiver answered, for who lists them. KEYS: root. ARGV: events kept, webhook, answer.
local webhook = ARGV[2]
if redis.call('EXISTS', key('webhook', webhook)) == 0 then return 0 end
redis.call('HSET', key('webhook', webhook), 'heard', ARGV[3], 'heard_at', now)
return 1
