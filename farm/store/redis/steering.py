"""The part of the Redis store that steers many jobs at once: end, pause, move, remove."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from farm.job import JobState
from farm.store.base import Notification, kept_reason
from farm.store.redis.epoch import RedisEpoch
from farm.store.redis.link import front_notification
from farm.store.redis.lua import Call

_BATCH: Final = 1000  # calls in one round trip


class RedisSteering(RedisEpoch):
    """What a person orders. Every method answers the state of each job that there is."""

    def cancel_many(self, job_ids: Sequence[str], *, reason: str = "") -> dict[str, JobState]:
        said = kept_reason(reason)
        return self._steer(job_ids, lambda job_id: self._call("cancel", job_id, said))

    def pause(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        return self._steer(job_ids, lambda job_id: self._call("pause", job_id))

    def remove(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        return self._steer(job_ids, lambda job_id: self._call("remove", job_id))

    def removed(self, *, limit: int = 1000) -> list[str]:
        ids: list[bytes] = self._command("ZRANGE", self.keys.removed, 0, limit - 1)
        return [job_id.decode() for job_id in ids]

    def files_are_gone(self, job_id: str) -> None:
        self._command("ZREM", self.keys.removed, job_id)

    def resume(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        return self._announce("resume", job_ids, None)

    def prioritize(self, job_ids: Sequence[str], priority: int) -> dict[str, JobState]:
        return self._announce("prioritize", job_ids, priority)

    def _announce(self, script: str, job_ids: Sequence[str], priority: int | None) -> dict[str, JobState]:
        """Run a script that puts each job at the front of its queue; so the last one goes first."""
        heads = dict(zip(job_ids, self._heads(job_ids), strict=True))

        def call(job_id: str) -> Call | None:
            head = heads[job_id]
            if head is None:
                return None
            found = front_notification(job_id, head)
            to = found.priority if priority is None else priority
            moved = Notification(job_id=job_id, queue=found.queue, priority=to, title=found.title, front=True)
            more = () if priority is None else (priority,)
            list_key = self._list_key(moved)
            return self._call(script, job_id, self._message(moved), *more, notification_list=list_key)

        return self._steer(list(reversed(job_ids)), call)

    def _heads(self, job_ids: Sequence[str]) -> list[bytes | None]:
        return self._commands([("HGET", self.keys.job(job_id), "head") for job_id in job_ids])

    def _steer(self, job_ids: Sequence[str], call: Callable[[str], Call | None]) -> dict[str, JobState]:
        calls = {job_id: made for job_id in dict.fromkeys(job_ids) if (made := call(job_id)) is not None}
        states: dict[str, JobState] = {}
        wanted = list(calls)
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            answers = self._run_many([calls[job_id] for job_id in batch])
            found = zip(batch, answers, strict=True)
            states.update((job_id, JobState(answer.decode())) for job_id, answer in found if answer)
        return states
