-- Find waiting jobs that younger ones of their priority, in the queues of larger classes, have passed by.
-- KEYS: root. ARGV: events kept, most jobs of one priority queue, ms that a job may be older than one that was
-- claimed before it, ms after which to notify again. Answers {id, head, larger queue, ...}.
--
-- A worker takes the largest of its queues first, so work for it that never ends would keep the smaller
-- ones waiting for ever. A second notification, in front of the larger queue, lets the old job run there.
local batch, patience_us, notify_again_ms = tonumber(ARGV[2]), tonumber(ARGV[3]) * 1000, tonumber(ARGV[4])

local queues = {}
for _, name in ipairs(redis.call('SMEMBERS', root .. stored.priority_queues)) do
  local priority, queue, gib = name:match('^(%d+):(.*%.(%d+))$')
  if priority then queues[#queues + 1] = {name = name, priority = priority, queue = queue, gib = tonumber(gib)} end
end

-- The larger queue of the same priority whose youngest claimed job is the youngest of all.
local function passed_by(priority_queue)
  local queue, youngest = nil, 0
  for _, other in ipairs(queues) do
    if other.priority == priority_queue.priority and other.gib > priority_queue.gib then
      local at = tonumber(redis.call('HGET', root .. 'passed', other.name) or 0)
      if at > youngest then queue, youngest = other.queue, at end
    end
  end
  return queue, youngest
end

-- Whether somebody empties that queue: notifications in one that nobody serves would pile up.
local function served(queue)
  return somebody({head = {q = queue}}, function(_, status) return fetches(status) end)
end

local found = {}
for _, priority_queue in ipairs(queues) do
  local queue, youngest = passed_by(priority_queue)
  local older = queue and redis.call('ZRANGEBYSCORE', key(stored.priority_queue, priority_queue.name), '-inf',
    digits(youngest - patience_us), 'LIMIT', 0, batch) or {}
  for _, id in ipairs(older) do
    local f = redis.call('HMGET', key('job', id), 'head', stored.notified)
    if f[1] and now - tonumber(f[2] or 0) >= notify_again_ms and served(queue) then
      found[#found + 1] = id
      found[#found + 1] = f[1]
      found[#found + 1] = queue
    end
  end
end
return found
