-- Fold the events of jobs that ended a while ago into their records: a stream takes 4 kB, however short it is.
-- What told only how a render went on is of no use any more, and is left out.
-- KEYS: root. ARGV: events kept, most jobs to touch, ms since their end. Answers how many were looked at.
local batch, after_ms = tonumber(ARGV[2]), tonumber(ARGV[3])

local passing = {progress = true, preview = true}

-- The entries of a stream as lines; `told` has some of them already if an older farm sent the job round again.
local function lines_of(entries, told)
  local lines = {}
  for _, entry in ipairs(entries) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if fields.k and fields.d and not passing[fields.k] and not told:find(entry[1] .. ' ', 1, true) then
      lines[#lines + 1] = entry[1] .. ' ' .. fields.k .. ' ' .. fields.d:gsub('\n', ' ') .. '\n'
    end
  end
  return table.concat(lines)
end

local ids = redis.call('ZRANGEBYSCORE', root .. 'unshortened', '-inf', now - after_ms, 'LIMIT', 0, batch)
for _, id in ipairs(ids) do
  redis.call('ZREM', root .. 'unshortened', id)
  local told = redis.call('HGET', key('job', id), 'told') or ''
  local lines = lines_of(redis.call('XRANGE', key('events', id), '-', '+'), told)
  if lines ~= '' then redis.call('HSET', key('job', id), 'told', told .. lines) end
  redis.call('DEL', key('events', id))
end
return #ids
