-- What all workers that live say of themselves. KEYS: root. ARGV: events kept. Answers {{name, status}, ...}.
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', root .. 'workers')) do
  local status = redis.call('GET', key('worker', name))
  if status then found[#found + 1] = {name, status} else redis.call('SREM', root .. 'workers', name) end
end
return found
