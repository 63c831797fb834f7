-- How many jobs come before each of these. KEYS: root. ARGV: events kept, id...
-- Answers a number for each, -1 for one that is in no priority queue.
local found = {}
for i = 2, #ARGV do
  local job = load(ARGV[i])
  local rank = job and job.state == 'queued' and redis.call('ZRANK', key(stored.priority_queue, priority_queue_of(job)), job.id)
  if rank then
    for priority = 0, job.head.p - 1 do
      rank = rank + redis.call('ZCARD', key(stored.priority_queue, priority .. ':' .. job.head.q))
    end
  end
  found[#found + 1] = rank or -1
end
return found
