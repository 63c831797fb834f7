"""A farm of very many jobs, in seconds: copies of one that is stored, made by Redis itself."""

from __future__ import annotations

import redis

from farm.settings.redis import RedisSettings

_AT_ONCE = 5_000

# Whatever index has the job gets the copy, each a moment younger than the one before. KEYS: the job's record,
# then sorted sets and lists. ARGV: its id, the first copy's number, how many.
_COPY = """
local id, first, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local at = tonumber(redis.call('HGET', KEYS[1], 'at'))
local root = string.sub(KEYS[1], 1, #KEYS[1] - #id)
for number = first, first + count - 1 do
  local copy = string.format('%s%08x', string.sub(id, 1, 24), number)
  redis.call('COPY', KEYS[1], root .. copy)
  redis.call('HSET', root .. copy, 'at', string.format('%.0f', at + number))
  for each = 2, #KEYS do
    local score = redis.call('ZSCORE', KEYS[each], id)
    if score then
      redis.call('ZADD', KEYS[each], string.format('%.0f', tonumber(score) + number), copy)
    end
  end
end
"""


def copy_job(settings: RedisSettings, job_id: str, count: int) -> None:
    """Have so many jobs beside this one, like it but for their ids and moments; none of them is announced."""
    with redis.Redis.from_url(settings.url.get_secret_value()) as client:
        copy = client.register_script(_COPY)
        root = f"{{{settings.namespace}}}:"
        indexes = [
            key.decode()
            for key in client.scan_iter(match=f"{root}*", count=1000, _type="zset")
            if client.zscore(key, job_id) is not None
        ]
        for first in range(1, count + 1, _AT_ONCE):
            some = min(_AT_ONCE, count + 1 - first)
            copy(keys=[f"{root}job:{job_id}", *indexes], args=[job_id, first, some])
