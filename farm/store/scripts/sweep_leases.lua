-- Take jobs from workers that were not heard of. KEYS: root.
-- ARGV: events kept, most jobs to touch, lease in s, lost workers that make a job poison, the same of those
-- that only published it. Answers ids.
local batch, lease_s, poison_after, publishing_after = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

-- Its work on the card was done: more likely than the job, a neighbour that ran there killed the worker.
local function is_publishing(job)
  local progress = redis.call('HGET', key('job', job.id), 'progress')
  return progress and cjson.decode(progress).phase == 'publishing' or false
end

-- What is counted, from when on it is poison, and what the workers did.
local function count(job, publishing)
  if not publishing then return job.lost - job.lost_publishing, poison_after, 'ran this job' end
  return job.lost_publishing, publishing_after, 'published the files of this job'
end

local function take(job)
  local publishing = is_publishing(job)
  local lost = error_json('machine', 'lease_lost', 'worker ' .. job.worker .. ' was not heard of for ' .. lease_s
    .. ' s while it ' .. (publishing and 'published the files of' or 'ran') .. ' attempt ' .. job.attempt
    .. '; it died, or was cut off from Redis', publishing and '{"phase":"publishing"}' or '{}')
  job.lost = job.lost + 1
  set(job, 'lost', job.lost, 'error', lost)
  if publishing then
    job.lost_publishing = job.lost_publishing + 1
    set(job, 'lost_publishing', job.lost_publishing)
  end
  local notes = note(job, 'lost', lost)
  local counted, limit, doing = count(job, publishing)
  local function is_counted(each)
    return each.outcome == 'lost' and (each.error.details.phase == 'publishing') == publishing
  end
  if job.cancel then
    clear(job, 'error')
    finish(job, 'canceled', {worker = job.worker, reason = 'its worker was lost'})
  elseif counted >= limit then
    local why = counted .. ' workers were lost while they ' .. doing .. ', the last one was ' .. job.worker
      .. '; look at their logs before it is retried'
    set(job, 'error', error_json('poison', 'workers_lost', why, cjson.encode({workers = workers_of(notes, is_counted)})))
    finish(job, 'failed', {worker = job.worker, reason = why})
  else
    requeue(job, {worker = job.worker, reason = 'its worker was lost'})
    enter_queue(job)
    -- Announced by the sweep's next step; if the steward dies before that, by the next sweep.
    redis.call('ZADD', root .. 'due', now, job.id)
  end
end

local ids = redis.call('ZRANGEBYSCORE', root .. 'leases', '-inf', now, 'LIMIT', 0, batch)
for _, id in ipairs(ids) do
  local job = load(id)
  if job and job.state == 'running' then take(job) else redis.call('ZREM', root .. 'leases', id) end
end
return ids
