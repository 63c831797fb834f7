-- Take a job's seconds into the means. KEYS: root.
-- ARGV: events kept, most names to keep, jobs that a mean remembers, then name and seconds of each.
-- A mean is kept as "count mean variance", as `comfy.wan.paces.Pace.with_sample` works it out; the names
-- that were not heard of for longest make room for new ones.
local most, remembered = tonumber(ARGV[2]), tonumber(ARGV[3])
local paces, heard = root .. 'paces', root .. 'paces_heard'

for i = 4, #ARGV, 2 do
  local name, seconds = ARGV[i], tonumber(ARGV[i + 1])
  local count, mean, variance = (redis.call('HGET', paces, name) or '0 0 0'):match('^(%S+) (%S+) (%S+)$')
  count, mean, variance = tonumber(count) or 0, tonumber(mean) or 0, tonumber(variance) or 0
  local weight = 1 / math.min(count + 1, remembered)
  local off = seconds - mean
  mean = mean + weight * off
  variance = (1 - weight) * (variance + weight * off * off)
  redis.call('HSET', paces, name, string.format('%d %.17g %.17g', count + 1, mean, variance))
  redis.call('ZADD', heard, now, name)
end
local over = redis.call('ZCARD', heard) - most
if over > 0 then
  for _, name in ipairs(redis.call('ZRANGE', heard, 0, over - 1)) do
    redis.call('HDEL', paces, name)
    redis.call('ZREM', heard, name)
  end
end
return 1
