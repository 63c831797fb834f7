-- Find jobs that must be announced by now. KEYS: root. ARGV: events kept, most jobs to touch.
-- Answers {id, head, id, head, ...}. They stay in `due` until they are announced (notify.lua).
local batch = tonumber(ARGV[2])

local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', root .. 'due', '-inf', now, 'LIMIT', 0, batch)) do
  local job = load(id)
  if job and job.state == 'queued' then
    clear(job, 'not_before')
    enter_queue(job)
    found[#found + 1] = id
    found[#found + 1] = job.raw_head
  else
    redis.call('ZREM', root .. 'due', id)
  end
end
return found
