-- Give messages up: they are dead letters. KEYS: root. ARGV: events kept, webhook, why, whether all of them, since the
-- webhook is to be told nothing more ('1' or ''), message...
local webhook, reason, disable = ARGV[2], ARGV[3], ARGV[4] == '1'
local messages = {}
for i = 5, #ARGV do
  if redis.call('ZSCORE', key('outbox', webhook), ARGV[i]) then messages[#messages + 1] = ARGV[i] end
end
if disable then
  if redis.call('EXISTS', key('webhook', webhook)) == 0 then return 0 end
  redis.call('HSET', key('webhook', webhook), 'disabled', reason)
  redis.call('SREM', key('webhooks_of', redis.call('HGET', key('webhook', webhook), 'tenant') or ''), webhook)
  messages = redis.call('ZRANGE', key('outbox', webhook), 0, -1)
end
for _, message in ipairs(messages) do bury(webhook, message, reason) end
return #messages
