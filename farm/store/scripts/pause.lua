-- Keep a waiting job from being run until it is resumed. KEYS: root. ARGV: events kept, id.
-- Answers its state, or '' for no job; only a queued one is paused.
local job = load(ARGV[2])
if not job then return '' end
if job.state ~= 'queued' or redis.call('HSETNX', key('job', job.id), 'paused', now) == 0 then return job.state end
leave_queue(job)
-- It may still expire. Its message stays where it is: a claim by it is refused.
local deadline = redis.call('HGET', key('job', job.id), 'deadline')
if deadline then redis.call('ZADD', root .. 'deadlines', deadline, job.id) end
clear(job, 'parked')
tell(job, {reason = 'paused'})
return job.state
