-- Put before every script of this folder, and behind the constants of `verdicts.py`: `words`, which scripts
-- say, `left_to_others`, `back_soon_ms`, and of webhooks `most_kept` and `tenant_label`.
--
-- KEYS[1] is the root of all keys, "{namespace}:"; the other keys are made from it here, so that one
-- hash tag keeps them in one slot. ARGV[1] is how many events a job's stream keeps, about.
-- All times are the server's own, in ms since the epoch; only `at`, the order of jobs, is in µs.
local root = KEYS[1]
local events_kept = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- How things stand in Redis that the code calls by other names now. What is stored keeps its name, so that
-- the versions on both sides of an upgrade read the same records; `codec.py` says so of the fields of a job.
local stored = {
  hold = 'aside', machine_failures = 'ill', notified = 'rung', priority_queue = 'lane', priority_queues = 'lanes',
  unsuitable = 'places', kind = { unsuitable = 'place' },
}

local function key(kind, name) return root .. kind .. ':' .. name end

-- Lua's own conversion keeps 14 digits; a time in µs has 16.
local function digits(number) return string.format('%.0f', number) end

local function priority_queue_of(job) return job.head.p .. ':' .. job.head.q end

local function load(id)
  local f = redis.call('HMGET', key('job', id), 'state', 'at', 'head', 'attempt', 'worker', 'claimed',
    'failed', 'lost', 'cancel', 'ended', stored.machine_failures, 'nonce',
    'cancel_reason')
  if not f[1] then return nil end
  return {
    id = id, state = f[1], at = f[2], raw_head = f[3], head = cjson.decode(f[3]),
    attempt = tonumber(f[4] or 0), worker = f[5] or '', claimed = tonumber(f[6] or 0),
    failed = tonumber(f[7] or 0), lost = tonumber(f[8] or 0), cancel = f[9], ended = f[10] or '',
    machine_failures = tonumber(f[11] or 0), token = f[12] or '', cancel_reason = f[13] or nil,
  }
end

local function set(job, ...) redis.call('HSET', key('job', job.id), ...) end
local function clear(job, ...) redis.call('HDEL', key('job', job.id), ...) end

local function add_event(id, kind, data)
  return redis.call('XADD', key('events', id), 'MAXLEN', '~', events_kept, '*', 'k', kind, 'd', data)
end

-- A job that only waits has no stream: a million of them would cost a gigabyte. Its first move makes
-- one, which begins with the event that readers were shown in its place until then (same id). Nor has one
-- that ended a while ago: its events were folded into its record (sweep_events.lua), and come out again.
local function begin_stream(job)
  local stream = key('events', job.id)
  if redis.call('EXISTS', stream) == 1 then return end
  local told = redis.call('HGET', key('job', job.id), 'told')
    or digits(math.floor(job.at / 1000)) .. '-0 state {"state":"queued","attempt":0}\n'
  for id, kind, data in told:gmatch('(%S+) (%S+) ([^\n]*)\n') do
    redis.call('XADD', stream, id, 'k', kind, 'd', data)
  end
  redis.call('HDEL', key('job', job.id), 'told')
end

local function tell(job, fields)
  begin_stream(job)
  fields.state = job.state
  fields.attempt = job.attempt
  return add_event(job.id, 'state', cjson.encode(fields))
end

local function move(job, state)
  redis.call('ZREM', key('state', job.state), job.id)
  redis.call('ZADD', key('state', state), job.at, job.id)
  set(job, 'state', state)
  job.state = state
end

local function leave_queue(job)
  redis.call('ZREM', key(stored.priority_queue, priority_queue_of(job)), job.id)
  redis.call('ZREM', root .. 'due', job.id)
  redis.call('ZREM', root .. 'deadlines', job.id)
  redis.call('ZREM', root .. 'parked', job.id)
end

local function enter_queue(job)
  local priority_queue = priority_queue_of(job)
  redis.call('ZADD', key(stored.priority_queue, priority_queue), job.at, job.id)
  redis.call('SADD', root .. stored.priority_queues, priority_queue)
end

-- Counts that outlive the records; `tally.py` says which.
local function count(field, by) redis.call('HINCRBY', root .. 'tally', field, by) end

local function message_key(webhook, message) return key('message', webhook .. ':' .. message) end

-- A webhook's message that is sent no more, unless somebody asks for that; of these the last `most_kept` stay.
local function bury(webhook, message, reason)
  local dead = key('dead', webhook)
  redis.call('ZREM', key('outbox', webhook), message)
  redis.call('ZADD', dead, now, message)
  redis.call('HSET', message_key(webhook, message), 'reason', reason)
  for _, oldest in ipairs(redis.call('ZRANGE', dead, 0, -most_kept - 1)) do
    redis.call('ZREM', dead, oldest)
    redis.call('DEL', message_key(webhook, oldest))
  end
end

-- The news of a job's end, for each webhook that is to be told: in the same move, so that there is never one
-- without the other. It is named by the event of that end: a job may end twice in one ms.
local function put_in_outbox(job, event, reason, error)
  local tenant = ''
  for _, label in ipairs(job.head.l or {}) do
    if label:sub(1, #tenant_label) == tenant_label then tenant = label:sub(#tenant_label + 1) break end
  end
  local webhooks = redis.call('SUNION', key('webhooks_of', ''), key('webhooks_of', tenant))
  if #webhooks == 0 then return end
  local message = 'msg_' .. job.id .. '_' .. event
  local told = cjson.encode({job_id = job.id, state = job.state, submitted_ms = math.floor(job.at / 1000),
    ended_ms = now, attempt = job.attempt, worker = job.worker, title = job.head.t, labels = job.head.l,
    reason = reason,
    error = error and {kind = error.kind, code = error.code, message = error.message} or nil})
  for _, webhook in ipairs(webhooks) do
    redis.call('HSET', message_key(webhook, message), 'end', told)
    redis.call('ZADD', key('outbox', webhook), now, message)
    for _, oldest in ipairs(redis.call('ZRANGE', key('outbox', webhook), 0, -most_kept - 1)) do
      bury(webhook, oldest, words.too_many_wait)
    end
  end
end

-- The job is done for. Fields that only a living job needs go.
local function finish(job, state, told)
  local code, error = told.reused_from and 'reused' or '', nil
  if state == 'failed' then
    local ok, its_error = pcall(cjson.decode, redis.call('HGET', key('job', job.id), 'error') or '')
    error = ok and type(its_error) == 'table' and its_error or {}
    code = error.code or ''
  end
  count('ended ' .. state .. ' ' .. code, 1)
  -- Whichever write finds the request first: what the one who asked said is what happened.
  if state == 'canceled' and job.cancel_reason then told.reason = job.cancel_reason end
  if job.state == 'running' then redis.call('ZREM', root .. 'leases', job.id) else leave_queue(job) end
  move(job, state)
  set(job, 'finished', now)
  clear(job, 'lease', 'nonce', 'not_before', 'deadline', 'avoid', stored.unsuitable, stored.notified, 'parked',
    'paused', 'held', 'doubts', 'losses')
  redis.call('ZADD', root .. 'finished', now, job.id)
  redis.call('ZADD', root .. 'unshortened', now, job.id)
  local event = tell(job, told)
  put_in_outbox(job, event, state ~= 'failed' and told.reason or '', error)
end

-- All that there is of a job that has ended, and what points at it.
local function remove(job)
  redis.call('ZREM', key('state', job.state), job.id)
  for _, label in ipairs(job.head.l or {}) do redis.call('ZREM', key('label', label), job.id) end
  local held = job.head.i and redis.call('GET', key('idem', job.head.i))
  if held and held:match('^%S+') == job.id then redis.call('DEL', key('idem', job.head.i)) end
  local maker = job.head.c and redis.call('GET', key('content', job.head.c))
  if maker == job.id then redis.call('DEL', key('content', job.head.c)) end
  redis.call('ZREM', root .. 'finished', job.id)
  redis.call('ZREM', root .. 'unshortened', job.id)
  redis.call('DEL', key('job', job.id), key('events', job.id))
end

-- A running job waits again. Where its next notification comes from is the caller's business.
local function requeue(job, told)
  redis.call('ZREM', root .. 'leases', job.id)
  clear(job, 'lease', 'nonce', 'progress')
  move(job, 'queued')
  tell(job, told)
end

-- Waits in its priority queue, and its message is put where the next pop takes it: it has waited already.
local function notify_now(job, list, message)
  enter_queue(job)
  set(job, stored.notified, now)
  redis.call('RPUSH', list, message)
end

-- Errors come and go as the JSON that Python wrote: cjson would turn an empty list into an object.
-- `moments`: name -> ms, what else is to be known of the attempt.
local function note(job, outcome, error_json, moments)
  local more = ''
  for name, moment in pairs(moments or {}) do more = more .. ',"' .. name .. '":' .. digits(moment) end
  local line = '{"attempt":' .. job.attempt .. ',"worker":' .. cjson.encode(job.worker)
    .. ',"outcome":"' .. outcome .. '","started_at":' .. digits(job.claimed) .. ',"ended_at":' .. digits(now)
    .. ',"error":' .. (error_json or 'null') .. more .. '}'
  local lines = redis.call('HGET', key('job', job.id), 'notes')
  lines = lines and (lines .. ',' .. line) or line
  set(job, 'notes', lines)
  return lines
end

-- A list or a map that the record holds; empty when it has none.
local function decoded(id, field) return cjson.decode(redis.call('HGET', key('job', id), field) or '{}') end

-- A write of an attempt whose lease was taken: its worker lives, and so the job has lost no worker by it.
local function it_lives(id, token)
  local dead = {}
  local losses = decoded(id, 'losses')
  for _, each in ipairs(losses) do
    if each.token ~= token then dead[#dead + 1] = each end
  end
  if #dead < #losses then redis.call('HSET', key('job', id), 'losses', cjson.encode(dead)) end
end

local function is_in(list, item)
  for _, each in ipairs(list) do
    if each == item then return true end
  end
  return false
end

-- The job that a message announces, or nil when it is none of ours.
local function announced(message)
  local ok, told = pcall(cjson.decode, message)
  local id = ok and type(told) == 'table' and (told.job_id or type(told.headers) == 'table' and told.headers.id)
  return type(id) == 'string' and id or nil
end

-- What a worker says of itself, or nil when that is no JSON object: it must not end what was asked for.
local function status_of(name)
  local ok, status = pcall(cjson.decode, redis.call('GET', key('worker', name)) or '')
  return ok and type(status) == 'table' and status or nil
end

-- Whether it takes jobs. Nothing else than these two fields of a status is read by scripts.
local function fetches(status)
  local reasons = status.not_fetching
  return reasons == nil or type(reasons) == 'table' and #reasons == 0
end

-- "GiB name" of workers that were heard of within a minute of whoever was heard of last, and when that was: one that
-- was ended may be back soon, and while Redis is away nobody can say that it lives.
local function lately()
  local last = tonumber(redis.call('ZRANGE', root .. 'lately', -1, -1, 'WITHSCORES')[2])
  if not last then return {}, now end
  return redis.call('ZRANGEBYSCORE', root .. 'lately', digits(last - back_soon_ms), '+inf'), last
end

-- Whether a worker serves the job's VRAM class that `may(name, status)` says yes to. One that may be back soon counts
-- as one that is about to start.
local function somebody(job, may)
  local gib = tonumber(job.head.q:match('%d+$') or 0)
  for _, name in ipairs(redis.call('SMEMBERS', root .. 'workers')) do
    local status = status_of(name)
    if status and (tonumber(status.vram_gib) or 0) >= gib and may(name, status) then return true end
  end
  for _, member in ipairs(lately()) do
    local its_gib, name = member:match('^(%d+) (.*)$')
    if tonumber(its_gib) >= gib and not status_of(name) and may(name, {not_fetching = {'gone'}}) then return true end
  end
  return false
end

-- Whether a worker lives that has not been found without what the job needs; it may be busy, or away for now.
local function untried(job, unsuitable)
  return somebody(job, function(name) return not is_in(unsuitable, name) end)
end

-- The workers of the job's attempts that fit.
local function workers_of(notes, fits)
  local workers = {}
  for _, each in ipairs(cjson.decode('[' .. notes .. ']')) do
    if fits(each) then workers[#workers + 1] = each.worker end
  end
  return workers
end

-- One of `words` with its blanks filled.
local function filled(text, blanks)
  return (text:gsub('{([%w_]+)}', function(name) return tostring(blanks[name]) end))
end

local function error_json(kind, code, message, details)
  return '{"kind":"' .. kind .. '","code":"' .. code .. '","message":' .. cjson.encode(message)
    .. ',"details":' .. details .. '}'
end

-- A number alone does not tell two attempts apart when a server comes back with older data, as after a
-- fail-over: the number is given a second time. Whoever names the token of its claim is held to that too.
local function same(token, named) return named == '' or token == '' or token == named end

-- What a repeated final write of the same attempt is answered, or nil when it is the first.
local function answered(job, attempt, verb, token)
  local earlier_attempt, earlier_verb, answer, its_token = job.ended:match('^(%d+) (%S+) (%S+) ?(%S*)$')
  if earlier_attempt == attempt and earlier_verb == verb and same(its_token, token) then return answer end
  return nil
end

local function answer(job, verb, word)
  set(job, 'ended', job.attempt .. ' ' .. verb .. ' ' .. word .. ' ' .. job.token)
  return word
end

local function holds(job, attempt, token)
  if job.state == 'running' and job.attempt == tonumber(attempt) and same(job.token, token) then return true end
  it_lives(job.id, token)
  return false
end
