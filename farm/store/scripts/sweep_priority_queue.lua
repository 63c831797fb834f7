-- Find waiting jobs of one priority queue (queue and priority) whose message is missing.
-- KEYS: root, notification list. ARGV: events kept, most jobs to find, priority queue, ms after which to notify again,
-- most messages to look at.
-- Answers {id, head, id, head, ...}, oldest first.
--
-- Messages are popped oldest first, so the missing ones are those of the oldest jobs. Two signs:
-- 1. There are fewer messages than jobs. Beyond one batch of messages nobody stands idle, and more
--    would only pile up.
-- 2. A job that came later was claimed already ("passed"), while the oldest still waits: messages of
--    canceled jobs can hide a missing one from the first sign, but not from this. Unless its message is
--    the very next one: then nobody looks at this priority queue now, and more urgent ones may keep it so for hours.
-- A notification too many is harmless: the second claim is refused. That there are not ever more of them is
-- seen to by the time between two notifications of a job, and by the count of messages.
local batch, priority_queue, notify_again_ms = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

local waiting = redis.call('ZCARD', key(stored.priority_queue, priority_queue))
if waiting == 0 then
  redis.call('SREM', root .. stored.priority_queues, priority_queue)
  redis.call('HDEL', root .. 'passed', priority_queue)
  redis.call('HDEL', root .. 'looked', priority_queue)
  return {}
end

-- Of jobs that wait no more, or elsewhere by now: whoever looks at the list takes its length for a count of jobs. Each
-- sweep looks at some, from where the last one came to; new messages come in before that, and are popped behind it.
local function drop_stale(messages)
  local from = tonumber(redis.call('HGET', root .. 'looked', priority_queue) or 0)
  if from >= messages then from = 0 end
  local some = redis.call('LRANGE', KEYS[2], from, from + ARGV[5] - 1)
  local dropped = 0
  for i, message in ipairs(some) do
    local id = announced(message)
    local job = id and load(id)
    if id and not (job and job.state == 'queued' and priority_queue_of(job) == priority_queue) then
      redis.call('LSET', KEYS[2], from + i - 1, 'stale')
      dropped = dropped + 1
    end
  end
  if dropped > 0 then redis.call('LREM', KEYS[2], dropped, 'stale') end
  local seen_all = from + #some >= messages
  redis.call('HSET', root .. 'looked', priority_queue, seen_all and 0 or from + #some - dropped)
  return dropped
end

local messages = redis.call('LLEN', KEYS[2])
if messages > waiting then messages = messages - drop_stale(messages) end
local wanted = math.min(waiting, batch) - messages
local oldest = redis.call('ZRANGE', key(stored.priority_queue, priority_queue), 0, 0, 'WITHSCORES')
local passed = tonumber(redis.call('HGET', root .. 'passed', priority_queue) or 0)
local first_younger = math.huge
local function is_next(id)
  return (redis.call('LINDEX', KEYS[2], -1) or ''):find(id, 1, true) ~= nil
end
if wanted <= 0 and tonumber(oldest[2]) < passed and not is_next(oldest[1]) then
  wanted = messages < waiting + batch and batch or 1
  first_younger = passed
end
if wanted <= 0 then return {} end

local found = {}
local oldest_first = redis.call('ZRANGE', key(stored.priority_queue, priority_queue), 0, batch - 1, 'WITHSCORES')
for i = 1, #oldest_first, 2 do
  local id, at = oldest_first[i], tonumber(oldest_first[i + 1])
  if at >= first_younger or #found >= 2 * wanted then break end
  local f = redis.call('HMGET', key('job', id), 'head', stored.notified)
  local last_notified = tonumber(f[2]) or math.floor(at / 1000)
  if f[1] and now - last_notified >= notify_again_ms then
    found[#found + 1] = id
    found[#found + 1] = f[1]
  end
end
return found
