-- Shorten the streams of jobs that ended a while ago: what told only how a render went on is of no use any more,
-- and is nearly all that a finished job takes.
-- KEYS: root. ARGV: events kept, most jobs to touch, ms since their end. Answers how many were looked at.
local batch, after_ms = tonumber(ARGV[2]), tonumber(ARGV[3])

local passing = {progress = true, preview = true}

-- The value of a field of a stream entry.
local function value(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

local ids = redis.call('ZRANGEBYSCORE', root .. 'unshortened', '-inf', now - after_ms, 'LIMIT', 0, batch)
for _, id in ipairs(ids) do
  redis.call('ZREM', root .. 'unshortened', id)
  local stream, kept = key('events', id), {}
  local entries = redis.call('XRANGE', stream, '-', '+')
  for _, entry in ipairs(entries) do
    if not passing[value(entry[2], 'k')] then kept[#kept + 1] = entry end
  end
  -- Anew, under the same ids: entries that are only deleted leave their room taken.
  if #kept < #entries then redis.call('DEL', stream) end
  for i = 1, #kept < #entries and #kept or 0 do
    redis.call('XADD', stream, kept[i][1], unpack(kept[i][2]))
  end
end
return #ids
