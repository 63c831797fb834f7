-- Give the next attempt at a queued job to a worker.
-- KEYS: root. ARGV: events kept, id, worker, nonce of this call, lease in ms, newest schema it reads,
-- ms after which a job that is refused here is announced again, ms for which it is left to others while
-- another worker lives that can take it, ms after which a job of a newer schema is announced again, priority
-- of the message that brought it here or ''.
-- Answers {'granted', attempt, at, claimed, lease end, spec, priority} or {reason}.
local id, worker, nonce, lease_ms, schema, notify_again_ms, left_to_others_ms, newer_ms =
  ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local came_at = tonumber(ARGV[10])

local job = load(id)
if not job then return {'unknown'} end
local f = redis.call('HMGET', key('job', id), 'not_before', 'deadline', 'avoid', 'nonce', 'lease', 'started',
  stored.unsuitable, 'held', 'paused')
local not_before, deadline, avoid = tonumber(f[1] or 0), tonumber(f[2] or 0), f[3]

local function granted(lease)
  return {'granted', job.attempt, job.at, digits(job.claimed), lease, redis.call('HGET', key('job', id), 'spec'),
    job.head.p}
end

-- The answer to an earlier try was lost on the way, and the client asks again.
if job.state == 'running' and f[4] == nonce then return granted(f[5]) end
if job.state ~= 'queued' then return {'not_queued'} end
if deadline > 0 and now >= deadline then
  finish(job, 'expired', {reason = words.deadline_passed})
  return {'expired'}
end
if f[9] then return {'paused'} end
-- It was made less urgent since; there is another message of it.
if came_at and job.head.p > came_at then return {'moved'} end
-- It has the finished files of this job: see put_on_hold.lua.
local is_holder = f[8] == worker
if now < not_before and not is_holder then return {'not_yet'} end

local avoided = avoid and cjson.decode(avoid) or {}
local kept_until = avoided[worker] or 0

local unsuitable = f[7] and cjson.decode(f[7]) or {}

-- Whether somebody who has not failed it lately serves its VRAM class, and fetches. One that only starts, or is
-- out of service for a while, is waited for as well when this worker may be what made it fail.
local function another_can()
  local in_doubt = decoded(id, 'doubts')[worker]
  return somebody(job, function(name, status)
    return name ~= worker and not avoided[name] and not is_in(unsuitable, name) and (in_doubt or fetches(status))
  end)
end

local not_here = now < kept_until or now < kept_until + left_to_others_ms and another_can()
  or is_in(unsuitable, worker) and untried(job, unsuitable)
if (job.head.v or 1) > schema then
  -- Not soon: a fleet that is not upgraded yet would do nothing but pop these.
  redis.call('ZADD', root .. 'due', 'NX', now + newer_ms, id)
  return {'newer'}
end
if not_here and not is_holder then
  -- The notification that brought it here is used up, so another one must follow.
  redis.call('ZADD', root .. 'due', 'NX', now + notify_again_ms, id)
  return {'not_here'}
end

local priority_queue = priority_queue_of(job)
if redis.call('ZSCORE', key(stored.priority_queue, priority_queue), id) then
  -- Whoever is older than this and still waits there has been passed over: see sweep_order.lua.
  local passed = tonumber(redis.call('HGET', root .. 'passed', priority_queue) or 0)
  if tonumber(job.at) > passed then redis.call('HSET', root .. 'passed', priority_queue, job.at) end
end
leave_queue(job)

job.attempt = job.attempt + 1
job.worker = worker
job.claimed = now
local lease = digits(now + lease_ms)
move(job, 'running')
redis.call('ZADD', root .. 'leases', lease, id)
set(job, 'attempt', job.attempt, 'worker', worker, 'claimed', now, 'lease', lease, 'nonce', nonce)
if not f[6] then set(job, 'started', now) end
clear(job, 'not_before', 'deadline', stored.notified, 'progress', 'parked', 'held')
tell(job, {worker = worker})
return granted(lease)
