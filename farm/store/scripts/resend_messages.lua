-- Send dead letters again, and let the webhook be told of ends again if it was disabled.
-- KEYS: root. ARGV: events kept, webhook, message... (none: all). Answers how many.
local webhook = ARGV[2]
if redis.call('EXISTS', key('webhook', webhook)) == 0 then return 0 end
redis.call('HDEL', key('webhook', webhook), 'disabled')
redis.call('SADD', key('webhooks_of', redis.call('HGET', key('webhook', webhook), 'tenant') or ''), webhook)
local messages = redis.call('ZRANGE', key('dead', webhook), 0, -1)
if #ARGV > 2 then messages = {unpack(ARGV, 3)} end
local count = 0
for _, message in ipairs(messages) do
  if redis.call('ZREM', key('dead', webhook), message) == 1 then
    redis.call('ZADD', key('outbox', webhook), now, message)
    redis.call('HSET', message_key(webhook, message), 'tries', 0)
    count = count + 1
  end
end
return count
