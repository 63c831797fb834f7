-- Forget jobs that ended long ago, and all that points at them.
-- KEYS: root. ARGV: events kept, most jobs to touch, retention in ms. Answers how many.
local batch, retention_ms = tonumber(ARGV[2]), tonumber(ARGV[3])

local ids = redis.call('ZRANGEBYSCORE', root .. 'finished', '-inf', now - retention_ms, 'LIMIT', 0, batch)
for _, id in ipairs(ids) do
  local job = load(id)
  if job then
    redis.call('ZREM', key('state', job.state), id)
    for _, label in ipairs(job.head.l or {}) do redis.call('ZREM', key('label', label), id) end
    local held = job.head.i and redis.call('GET', key('idem', job.head.i))
    if held and held:match('^%S+') == id then redis.call('DEL', key('idem', job.head.i)) end
    local maker = job.head.c and redis.call('GET', key('content', job.head.c))
    if maker == id then redis.call('DEL', key('content', job.head.c)) end
  end
  redis.call('ZREM', root .. 'finished', id)
  redis.call('DEL', key('job', id), key('events', id))
end
return #ids
