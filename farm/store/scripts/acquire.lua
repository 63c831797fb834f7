-- Take or keep a named lock. KEYS: root. ARGV: events kept, name, holder, ms. Answers 1 when it is held.
local lock = key('lock', ARGV[2])
local holder = redis.call('GET', lock)
if holder and holder ~= ARGV[3] then return 0 end
redis.call('SET', lock, ARGV[3], 'PX', ARGV[4])
return 1
