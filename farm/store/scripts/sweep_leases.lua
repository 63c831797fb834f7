-- Take jobs from workers that were not heard of. KEYS: root.
-- ARGV: events kept, most jobs to touch, lease in s, lost workers that make a job poison, the same of those
-- that only published it. Answers ids.
local batch, lease_s, poison_after, publishing_after = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

-- Its work on the card was done: more likely than the job, a neighbour that ran there killed the worker.
local function is_publishing(job)
  local progress = redis.call('HGET', key('job', job.id), 'progress')
  return progress and cjson.decode(progress).phase == 'publishing' or false
end

-- How many losses count, how many make it poison, what the workers did, and which they were. A worker that was
-- heard of since is not lost (see it_lives); but what was taken so often as both limits allow ends in any case.
local function judge(job, losses, publishing)
  local workers, all = {}, poison_after + publishing_after
  for _, each in ipairs(losses) do
    if job.lost >= all or each.publishing == publishing then workers[#workers + 1] = each.worker end
  end
  if job.lost >= all then return job.lost, all, words.held, workers end
  if publishing then return #workers, publishing_after, words.published, workers end
  return #workers, poison_after, words.ran, workers
end

local function take(job)
  local publishing = is_publishing(job)
  local lost = error_json('machine', 'lease_lost', filled(words.lease_lost, {worker = job.worker, lease_s = lease_s,
    doing = publishing and words.published or words.ran, attempt = job.attempt}),
    publishing and '{"phase":"publishing"}' or '{}')
  job.lost = job.lost + 1
  local losses = decoded(job.id, 'losses')
  losses[#losses + 1] = {token = job.token, worker = job.worker, publishing = publishing}
  set(job, 'lost', job.lost, 'losses', cjson.encode(losses), 'error', lost)
  local lease = tonumber(redis.call('HGET', key('job', job.id), 'lease') or now)
  note(job, 'lost', lost, {heard_at = math.max(lease - tonumber(lease_s) * 1000, job.claimed)})
  local counted, limit, doing, workers = judge(job, losses, publishing)
  if job.cancel then
    clear(job, 'error')
    finish(job, 'canceled', {worker = job.worker, reason = words.worker_lost})
  elseif counted >= limit then
    local why = filled(words.workers_lost, {count = counted, doing = doing, worker = job.worker})
    set(job, 'error', error_json('poison', 'workers_lost', why, cjson.encode({workers = workers})))
    finish(job, 'failed', {worker = job.worker, reason = why})
  else
    requeue(job, {worker = job.worker, reason = words.worker_lost})
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
