"""The part of the store in memory that steers many jobs at once: end, pause, move, remove."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from farm.job import JobState
from farm.store.base import kept_reason
from farm.testing.memory.state import Kept, MemoryState


class MemorySteering(MemoryState):
    """What a person orders. Every method answers the state of each job that there is."""

    def cancel_many(self, job_ids: Sequence[str], *, reason: str = "") -> dict[str, JobState]:
        return self._steer(job_ids, lambda kept: self._cancel(kept, kept_reason(reason)))

    def pause(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        return self._steer(job_ids, self._pause)

    def resume(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        return self._steer(list(reversed(job_ids)), self._resume)

    def prioritize(self, job_ids: Sequence[str], priority: int) -> dict[str, JobState]:
        return self._steer(list(reversed(job_ids)), lambda kept: self._prioritize(kept, priority))

    def remove(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        return self._steer(job_ids, self._remove_ended)

    def removed(self, *, limit: int = 1000) -> list[str]:
        with self._lock:
            return list(self._removed)[:limit]

    def files_are_gone(self, job_id: str) -> None:
        with self._lock:
            self._removed.pop(job_id, None)

    def _steer(self, job_ids: Sequence[str], act: Callable[[Kept], None]) -> dict[str, JobState]:
        states: dict[str, JobState] = {}
        with self._lock:
            for job_id in dict.fromkeys(job_ids):
                kept = self._jobs.get(job_id)
                if kept is not None:
                    act(kept)
                    states[job_id] = kept.record.state
        return states

    def _cancel(self, kept: Kept, reason: str) -> None:
        asked = kept.record.cancel_requested
        if not kept.record.state.final and not asked:
            self._set(kept, cancel_requested=True, cancel_reason=reason or None)
        if kept.record.state is JobState.QUEUED:
            self._finish(kept, JobState.CANCELED, reason=reason)
        elif kept.record.state is JobState.RUNNING:
            if not asked:
                self._tell(kept, worker=kept.record.worker, cancel_requested=True, reason=reason)
            for feed in self._feeds:
                feed.put(kept.record.job_id)

    def _pause(self, kept: Kept) -> None:
        if kept.record.state is JobState.QUEUED and kept.record.paused_at is None:
            kept.due = None
            self._set(kept, paused_at=self._now(), parked=None)
            self._tell(kept, reason="paused")

    def _resume(self, kept: Kept) -> None:
        record = kept.record
        if record.state is not JobState.QUEUED or record.paused_at is None:
            return
        self._set(kept, paused_at=None)
        self._tell(kept, reason="resumed")
        if record.not_before is not None and self._now() < record.not_before:
            kept.due = record.not_before.timestamp()
        else:
            self._notify_now(kept)

    def _prioritize(self, kept: Kept, priority: int) -> None:
        record = kept.record
        if record.state is not JobState.QUEUED or record.spec.priority == priority:
            return
        self._set(kept, spec=replace(record.spec, priority=priority))
        self._tell(kept, reason=f"priority {priority}")
        if kept.waits:
            self._notify_now(kept)

    def _remove_ended(self, kept: Kept) -> None:
        if kept.record.state.final:
            self._drop(kept)
            self._removed[kept.record.job_id] = None
