-- Forget a webhook and its messages. KEYS: root. ARGV: events kept, webhook. Answers whether there was one.
local webhook = ARGV[2]
redis.call('SREM', key('webhooks_of', redis.call('HGET', key('webhook', webhook), 'tenant') or ''), webhook)
redis.call('SREM', root .. 'webhooks', webhook)
for _, box in ipairs({key('outbox', webhook), key('dead', webhook)}) do
  for _, message in ipairs(redis.call('ZRANGE', box, 0, -1)) do redis.call('DEL', message_key(webhook, message)) end
  redis.call('DEL', box)
end
return redis.call('DEL', key('webhook', webhook))
