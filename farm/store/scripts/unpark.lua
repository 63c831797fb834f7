-- Let a parked job run: a worker that fits has come.
-- KEYS: root, notification list. ARGV: events kept, id, message, reason.
-- Answers 1 when it was parked.
local id, message, reason = ARGV[2], ARGV[3], ARGV[4]

local job = load(id)
if redis.call('ZREM', root .. 'parked', id) == 0 or not job or job.state ~= 'queued' then return 0 end
clear(job, 'parked')
tell(job, {reason = reason})
notify_now(job, KEYS[2], message)
return 1
