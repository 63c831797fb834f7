"""The part of the Redis store that notices when Redis has forgotten everything."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime

from farm.errors import JobForgotten, JobNotFound
from farm.job import utc_from_ms
from farm.store.redis.link import RedisLink, in_ms
from farm.store.redis.lua import Call

log = logging.getLogger(__name__)


class RedisEpoch(RedisLink):
    """Knows by one word, made at the first use of an empty Redis, whether this is still the same memory."""

    _seen_epoch = ""  # at the last submit of this object

    def epoch(self, *, known: str = "") -> str:
        word: bytes = self._run_many([self._epoch_call(known)])[0]
        return word.decode()

    def _epoch_call(self, known: str) -> Call:
        told_ms = in_ms(max(self.limits.retention_s, 1.0))
        return self._call("epoch", uuid.uuid4().hex, known, told_ms)

    def _note_epoch(self, word: bytes) -> None:
        """Take what the script said; a producer that knew another word says so in its log."""
        epoch = word.decode()
        if self._seen_epoch and self._seen_epoch != epoch:
            log.warning(
                "This Redis forgot everything: earlier jobs are lost, submit them again",
                extra={"event": "epoch_changed"},
            )
        self._seen_epoch = epoch

    def _missing(self, job_id: str) -> JobNotFound:
        """Why there is no such job."""
        if self._seen_epoch:
            self._note_epoch(self._run_many([self._epoch_call(self._seen_epoch)])[0])
        at = forgot_at(self._command("GET", self.keys.forgot))
        return JobNotFound(job_id) if at is None else JobForgotten(job_id, at)


def forgot_at(told: bytes | None) -> datetime | None:
    """When it was first noticed that the memory was lost, from what `epoch.lua` keeps."""
    return None if told is None else utc_from_ms(int(told))
