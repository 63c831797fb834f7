-- A message was not taken; it is tried again. KEYS: root. ARGV: events kept, webhook, message, ms until then, why.
local webhook, message, again_ms, reason = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if not redis.call('ZSCORE', key('outbox', webhook), message) then return 0 end
redis.call('ZADD', key('outbox', webhook), now + again_ms, message)
redis.call('HINCRBY', message_key(webhook, message), 'tries', 1)
redis.call('HSET', message_key(webhook, message), 'reason', reason)
return 1
