-- The messages of each webhook that are due. KEYS: root. ARGV: events kept, most of one webhook.
-- Answers {webhook, message, end, tries, reason, webhook, ...}.
local found = {}
for _, webhook in ipairs(redis.call('SMEMBERS', root .. 'webhooks')) do
  local due = redis.call('ZRANGEBYSCORE', key('outbox', webhook), '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
  for _, message in ipairs(due) do
    local f = redis.call('HMGET', message_key(webhook, message), 'end', 'tries', 'reason')
    for _, each in ipairs({webhook, message, f[1] or '', f[2] or '0', f[3] or ''}) do found[#found + 1] = each end
  end
end
return found
