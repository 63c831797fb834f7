-- Queue a job again that is rendered and could not be stored: for a while, only the worker that has its
-- files may claim it. Not counted as a failed attempt.
-- KEYS: root. ARGV: events kept, id, attempt, error as JSON, why, in one line, ms to hold it, token.
-- Answers the new state or 'lost'.
local id, attempt, error, why, hold_ms, token = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]

local job = load(id)
if not job then return 'lost' end
local earlier = answered(job, attempt, stored.hold, token)
if earlier then return earlier end
if not holds(job, attempt, token) then return 'lost' end

note(job, 'unpublished', error)
if job.cancel then
  finish(job, 'canceled', {worker = job.worker})
  return answer(job, stored.hold, 'canceled')
end
requeue(job, {worker = job.worker, reason = why, held_by = job.worker})
-- In no priority queue and without a notification: the holder asks for it by itself.
-- `due` announces it to everybody later.
set(job, 'error', error, 'held', job.worker, 'not_before', now + hold_ms)
redis.call('ZADD', root .. 'due', now + hold_ms, id)
return answer(job, stored.hold, 'queued')
