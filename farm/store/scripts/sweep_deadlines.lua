-- Expire jobs that were not started in time. KEYS: root. ARGV: events kept, most jobs to touch. Answers ids.
local expired = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', root .. 'deadlines', '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))) do
  local job = load(id)
  if job and job.state == 'queued' then
    finish(job, 'expired', {reason = words.deadline_passed})
    expired[#expired + 1] = id
  else
    redis.call('ZREM', root .. 'deadlines', id)
  end
end
return expired
