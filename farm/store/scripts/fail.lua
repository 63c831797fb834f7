-- End an attempt that failed. KEYS: root, notification list. ARGV: events kept, id, attempt, error as JSON,
-- whose fault it is, ms until the retry or '', ms to keep it from this worker, message,
-- why, in one line, machines that make a job poison, its new head when it changes its queue or '', token,
-- workers that it is tried on at most for want of what it needs, in which way it failed if that may be the
-- worker's doing, or '', what the doctor says of it, as JSON or ''.
-- Answers the new state or 'lost'.
local id, attempt, error, kind, retry_ms, avoid_ms, message, why, poison_after, head, token, max_unsuitable, doubt, report =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9],
  tonumber(ARGV[10]), ARGV[11], ARGV[12], tonumber(ARGV[13]), ARGV[14], ARGV[15]

local job = load(id)
if not job then return 'lost' end
local earlier = answered(job, attempt, 'fail', token)
if earlier then return earlier end
if not holds(job, attempt, token) then return 'lost' end

local notes = note(job, 'failed', error, {again_at = now + (retry_ms or 0), kept_until = now + avoid_ms})
if job.cancel then
  finish(job, 'canceled', {worker = job.worker})
  return answer(job, 'fail', 'canceled')
end
set(job, 'error', error)
if report ~= '' then set(job, 'report', report) end

-- Whether another worker is to try before this is final, and whether nothing of the kind was seen before.
-- Two workers on which it fails alike prove that it is the job; so does that nobody else could try.
local function in_doubt()
  if doubt == '' then return false, false end
  local doubts = decoded(id, 'doubts')
  local is_first, alike = next(doubts) == nil, false
  for worker, how in pairs(doubts) do
    if worker ~= job.worker and how == doubt then alike = true end
  end
  doubts[job.worker] = doubt
  set(job, 'doubts', cjson.encode(doubts))
  local unsuitable = decoded(id, stored.unsuitable)
  return not alike and somebody(job, function(name, status)
    return not doubts[name] and not is_in(unsuitable, name) and (is_first or fetches(status))
  end), is_first
end

local is_open, is_first = in_doubt()
if doubt ~= '' and not is_open then retry_ms = nil end
local counts = kind ~= 'machine' and kind ~= stored.kind.unsuitable and not (is_open and is_first)
if kind == 'machine' then
  job.machine_failures = job.machine_failures + 1
  set(job, stored.machine_failures, job.machine_failures)
elseif counts then
  job.failed = job.failed + 1
  set(job, 'failed', job.failed)
end
if job.machine_failures >= poison_after then
  local function machine_failed(each)
    return type(each.error) == 'table' and each.outcome == 'failed' and each.error.kind == 'machine'
  end
  local poison = filled(words.machines_failed, {count = job.machine_failures, worker = job.worker, why = why})
  set(job, 'error', error_json('poison', 'machines_failed', poison,
    cjson.encode({workers = workers_of(notes, machine_failed)})))
  finish(job, 'failed', {worker = job.worker, reason = poison})
  return answer(job, 'fail', 'failed')
end
if kind == stored.kind.unsuitable then
  local unsuitable = decoded(id, stored.unsuitable)
  if not is_in(unsuitable, job.worker) then unsuitable[#unsuitable + 1] = job.worker end
  set(job, stored.unsuitable, cjson.encode(unsuitable))
  if retry_ms and (#unsuitable >= max_unsuitable or not untried(job, unsuitable)) then
    local nowhere = filled(words.no_worker_can, {workers = table.concat(unsuitable, ', '), why = why})
    set(job, 'error', error_json(stored.kind.unsuitable, 'no_worker_can', nowhere, cjson.encode({workers = unsuitable})))
    finish(job, 'failed', {worker = job.worker, reason = nowhere})
    return answer(job, 'fail', 'failed')
  end
end
if not retry_ms or (counts or kind == 'machine') and job.failed >= job.head.m then
  finish(job, 'failed', {worker = job.worker, reason = why})
  return answer(job, 'fail', 'failed')
end

local avoided = {[job.worker] = now + avoid_ms}
for worker, kept_until in pairs(cjson.decode(redis.call('HGET', key('job', id), 'avoid') or '{}')) do
  if kept_until + avoid_ms * left_to_others > now and worker ~= job.worker then avoided[worker] = kept_until end
end
if head ~= '' then
  job.head = cjson.decode(head)
  set(job, 'head', head)
end
requeue(job, {worker = job.worker, reason = why, retry_in_s = retry_ms / 1000})
set(job, 'avoid', cjson.encode(avoided))
if retry_ms > 0 then
  set(job, 'not_before', now + retry_ms)
  redis.call('ZADD', root .. 'due', now + retry_ms, id)
else
  notify_now(job, KEYS[2], message)
end
return answer(job, 'fail', 'queued')
