-- Append events of an attempt. KEYS: root.
-- ARGV: events kept, id, attempt, progress as JSON or '', token, then kind and data of each event.
local id, attempt, progress, token = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local f = redis.call('HMGET', key('job', id), 'state', 'attempt', 'cancel', 'nonce')
if f[1] ~= 'running' or f[2] ~= attempt or not same(f[4] or '', token) then
  it_lives(id, token)
  return 'lost'
end
if progress ~= '' then redis.call('HSET', key('job', id), 'progress', progress) end
for i = 6, #ARGV, 2 do add_event(id, ARGV[i], ARGV[i + 1]) end
return f[3] and 'canceled' or 'ok'
