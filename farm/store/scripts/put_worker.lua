-- Keep what a worker says of itself for a while. KEYS: root. ARGV: events kept, name, status, ms.
redis.call('SET', key('worker', ARGV[2]), ARGV[3], 'PX', ARGV[4])
redis.call('SADD', root .. 'workers', ARGV[2])
-- Time in which nobody was heard of is nobody's absence: Redis was away.
local members, last = lately()
local silence_ms = now - last > tonumber(ARGV[4]) and now - last or 0
for _, member in ipairs(members) do redis.call('ZINCRBY', root .. 'lately', digits(silence_ms), member) end
local gib = math.floor(tonumber((status_of(ARGV[2]) or {}).vram_gib) or 0)
redis.call('ZADD', root .. 'lately', now, gib .. ' ' .. ARGV[2])
redis.call('ZREMRANGEBYSCORE', root .. 'lately', '-inf', '(' .. digits(now - back_soon_ms))
return 1
