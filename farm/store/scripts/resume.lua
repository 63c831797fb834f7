-- Let a paused job wait for a worker again, in front of its priority queue: it has waited already.
-- KEYS: root, notification list. ARGV: events kept, id, message. Answers its state, or '' for no job.
local job = load(ARGV[2])
if not job then return '' end
if job.state ~= 'queued' or redis.call('HDEL', key('job', job.id), 'paused') == 0 then return job.state end
tell(job, {reason = 'resumed'})
local not_before = tonumber(redis.call('HGET', key('job', job.id), 'not_before') or 0)
if now < not_before then
  redis.call('ZADD', root .. 'due', not_before, job.id)
else
  notify_now(job, KEYS[2], ARGV[3])
end
return job.state
