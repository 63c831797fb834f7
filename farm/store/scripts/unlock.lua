-- Give a lock back, if it is still this holder's. KEYS: root. ARGV: events kept, name, holder.
local lock = key('lock', ARGV[2])
if redis.call('GET', lock) == ARGV[3] then redis.call('DEL', lock) end
return 1
