-- Remove jobs that ended long ago, and all that points at them.
-- KEYS: root. ARGV: events kept, most jobs to touch, retention in ms. Answers how many.
local batch, retention_ms = tonumber(ARGV[2]), tonumber(ARGV[3])

local ids = redis.call('ZRANGEBYSCORE', root .. 'finished', '-inf', now - retention_ms, 'LIMIT', 0, batch)
for _, id in ipairs(ids) do
  local job = load(id)
  if job then remove(job) else redis.call('ZREM', root .. 'finished', id) end
end
return #ids
