-- Take jobs from workers that were not heard of. KEYS: root.
-- ARGV: events kept, most jobs to touch, lease in s, lost workers that make a job poison. Answers ids.
local batch, lease_s, poison_after = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

local function was_lost(each) return each.outcome == 'lost' end

local function take(job)
  local lost = error_json('machine', 'lease_lost', 'worker ' .. job.worker .. ' was not heard of for ' .. lease_s
    .. ' s while it ran attempt ' .. job.attempt .. '; it died, or was cut off from Redis', '{}')
  job.lost = job.lost + 1
  set(job, 'lost', job.lost, 'error', lost)
  local notes = note(job, 'lost', lost)
  if job.cancel then
    clear(job, 'error')
    finish(job, 'canceled', {worker = job.worker, reason = 'its worker was lost'})
  elseif job.lost >= poison_after then
    local why = job.lost .. ' workers were lost while they ran this job, the last one was ' .. job.worker
      .. '; look at their logs before it is retried'
    set(job, 'error', error_json('poison', 'workers_lost', why, cjson.encode({workers = workers_of(notes, was_lost)})))
    finish(job, 'failed', {worker = job.worker, reason = why})
  else
    requeue(job, {worker = job.worker, reason = 'its worker was lost'})
    enter_lane(job)
    -- Rung by the sweep's next step; if the steward dies before that, by the next sweep.
    redis.call('ZADD', root .. 'due', now, job.id)
  end
end

local ids = redis.call('ZRANGEBYSCORE', root .. 'leases', '-inf', now, 'LIMIT', 0, batch)
for _, id in ipairs(ids) do
  local job = load(id)
  if job and job.state == 'running' then take(job) else redis.call('ZREM', root .. 'leases', id) end
end
return ids
