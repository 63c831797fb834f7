-- Queue an ended job anew. KEYS: root, notification list. ARGV: events kept, id, message.
-- Answers {'queued'}, or {'refused', state}, or {'unknown'}.
local id, message = ARGV[2], ARGV[3]

local job = load(id)
if not job then return {'unknown'} end
if job.state ~= 'failed' and job.state ~= 'canceled' and job.state ~= 'expired' then
  return {'refused', job.state}
end
redis.call('ZREM', root .. 'finished', id)
redis.call('ZREM', root .. 'unshortened', id)
-- The attempt number goes on: it is the fencing token, and an old worker may still be about.
clear(job, 'failed', 'lost', stored.machine_failures, 'cancel', 'cancel_reason', 'error', 'report', 'result', 'progress',
  'started', 'finished')
move(job, 'queued')
tell(job, {reason = 'retry'})
notify_now(job, KEYS[2], message)
return {'queued'}
