-- Give a running job back. KEYS: root, notification list. ARGV: events kept, id, attempt (0: whatever was granted to
-- the token), reason, message, token.
local id, attempt, reason, message, token = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local job = load(id)
if not job then return 'lost' end
if attempt == '0' and job.token == token then attempt = tostring(job.attempt) end
local earlier = answered(job, attempt, 'release', token)
if earlier then return earlier end
if not holds(job, attempt, token) then return 'lost' end
if job.cancel then
  note(job, 'canceled')
  finish(job, 'canceled', {worker = job.worker})
  return answer(job, 'release', 'canceled')
end
note(job, 'released')
requeue(job, {worker = job.worker, reason = reason})
notify_now(job, KEYS[2], message)
return answer(job, 'release', 'ok')
