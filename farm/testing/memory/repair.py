"""The part of the store in memory that repairs what died."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import timedelta

from farm.job import PASSING, PUBLISHING, JobState
from farm.store.base import Notification, Swept
from farm.store.verdicts import (
    DEADLINE_PASSED,
    HELD,
    PASSED_AT_ONCE,
    PUBLISHED,
    RAN,
    WORKER_LOST,
    lease_lost,
    workers_lost,
)
from farm.testing.memory.state import Kept, Loss, MemoryState, PriorityQueue, front_notification


class MemoryRepair(MemoryState):
    """Sweeps."""

    def sweep(self) -> Swept:
        with self._lock:
            lost = self._first(k for k in self._in(JobState.RUNNING) if self._lease_is_over(k))
            for kept in lost:
                self._take(kept)
            late = self._first(
                k for k in self._in(JobState.QUEUED) if k.deadline is not None and k.deadline <= self._now()
            )
            for kept in late:
                self._finish(kept, JobState.EXPIRED, reason=DEADLINE_PASSED)
            due, passed = self._due(), self._passed_by()
            self._drop_stale()
            missed = dict.fromkeys(front_notification(kept) for kept in (*due, *self._missing()))
            notifications = (*missed, *passed)
            self._fold()
            self.notify(notifications)
            return Swept(
                notifications=notifications,
                lost=tuple(kept.record.job_id for kept in lost),
                expired=tuple(kept.record.job_id for kept in late),
                purged=self._purge(),
            )

    def _fold(self) -> None:
        """As scripts/sweep_events.lua does."""
        before = self._now() - timedelta(seconds=self.limits.fold_after_s)
        for kept in self._jobs.values():
            if kept.record.finished_at is not None and kept.record.finished_at <= before:
                kept.events = [each for each in kept.events if each.kind not in PASSING]

    def _drop_stale(self) -> None:
        """As scripts/sweep_messages.lua does."""
        for notifications in self._notifications.values():
            while notifications and not self._waits(notifications[-1]):
                notifications.pop()

    def _waits(self, job_id: str, where: PriorityQueue | None = None) -> bool:
        kept = self._jobs.get(job_id)
        return (
            kept is not None and kept.record.state is JobState.QUEUED and where in (None, kept.priority_queue)
        )

    def _lease_is_over(self, kept: Kept) -> bool:
        return kept.record.lease_until is not None and kept.record.lease_until <= self._now()

    def _take(self, kept: Kept) -> None:
        record = kept.record
        publishing = record.progress is not None and record.progress.phase == PUBLISHING
        error = lease_lost(record.worker or "", record.attempt, self.limits.lease_s, publishing=publishing)
        claimed_at, lease_until = record.claimed_at or self._now(), record.lease_until or self._now()
        heard_at = max(lease_until - timedelta(seconds=self.limits.lease_s), claimed_at)
        self._note(kept, "lost", error, heard_at=heard_at)
        self._set(kept, attempts_lost=record.attempts_lost + 1, error=error)
        kept.losses.append(Loss(token=kept.token, worker=record.worker or "", publishing=publishing))
        counted, limit, doing, workers = self._judge(kept, publishing=publishing)
        if record.cancel_requested:
            self._set(kept, error=None)
            self._finish(kept, JobState.CANCELED, worker=record.worker, reason=WORKER_LOST)
        elif counted >= limit:
            poison = workers_lost(counted, record.worker or "", workers, doing=doing)
            self._set(kept, error=poison)
            self._finish(kept, JobState.FAILED, worker=record.worker, reason=poison.message)
        else:
            self._requeue(kept, worker=record.worker, reason=WORKER_LOST)
            kept.due = self._clock()

    def _judge(self, kept: Kept, *, publishing: bool) -> tuple[int, int, str, list[str]]:
        """As scripts/sweep_leases.lua judges."""
        limits, lost = self.limits, kept.record.attempts_lost
        most = limits.max_lost_attempts + limits.max_lost_publishing
        if lost >= most:
            return lost, most, HELD, [each.worker for each in kept.losses]
        workers = [each.worker for each in kept.losses if each.publishing == publishing]
        if publishing:
            return len(workers), limits.max_lost_publishing, PUBLISHED, workers
        return len(workers), limits.max_lost_attempts, RAN, workers

    def _due(self) -> list[Kept]:
        now = self._clock()
        due = self._first(k for k in self._in(JobState.QUEUED) if k.due is not None and k.due <= now)
        for kept in due:
            self._set(kept, not_before=None)
        return due

    def _passed_by(self) -> list[Notification]:
        """As scripts/sweep_order.lua finds them."""
        now, patience = self._clock(), int(self.limits.pass_over_s * 1_000_000)
        waiting = [k for k in self._in(JobState.QUEUED) if k.waits]
        queues = {kept.priority_queue for kept in waiting}
        found: list[Notification] = []
        for mine in sorted(queues):
            larger = [o for o in queues if o[0] == mine[0] and _gib(o) > _gib(mine) and o in self._passed]
            if not larger:
                continue
            by = max(larger, key=self._passed.__getitem__)
            older = [
                k for k in waiting if k.priority_queue == mine and k.order <= self._passed[by] - patience
            ]
            found += [
                replace(front_notification(kept), queue=by[1])
                for kept in older[:PASSED_AT_ONCE]
                if now - kept.notified >= self.limits.notify_again_after_s
                and self._somebody(by[1], lambda _, status: not status.not_fetching)
            ]
        return found

    def _missing(self) -> list[Kept]:
        """As scripts/sweep_priority_queue.lua finds them."""
        queues: dict[PriorityQueue, list[Kept]] = {}
        for kept in self._in(JobState.QUEUED):
            if kept.waits:
                queues.setdefault(kept.priority_queue, []).append(kept)
        found: list[Kept] = []
        for mine, waiting in queues.items():
            if len(self._notifications.get(mine, ())) > len(waiting):
                self._notifications[mine] = deque(
                    job_id for job_id in self._notifications[mine] if self._waits(job_id, mine)
                )
            messages = len(self._notifications.get(mine, ()))
            wanted, younger = min(len(waiting), self.limits.sweep_batch) - messages, self._last_order + 1
            oldest = waiting[0]
            is_next = messages > 0 and self._notifications[mine][-1] == oldest.record.job_id
            if wanted <= 0 and oldest.order < self._passed.get(mine, 0) and not is_next:
                wanted = self.limits.sweep_batch if messages < len(waiting) + self.limits.sweep_batch else 1
                younger = self._passed[mine]
            last_notified = self._clock() - self.limits.notify_again_after_s
            old = [k for k in waiting if k.order < younger and k.notified <= last_notified]
            found += old[: max(wanted, 0)]
        return found

    def _purge(self) -> int:
        before = self._now() - timedelta(seconds=self.limits.retention_s)
        old = self._first(
            kept
            for kept in self._jobs.values()
            if kept.record.finished_at is not None and kept.record.finished_at <= before
        )
        for kept in old:
            self._drop(kept)
        return len(old)


def _gib(priority_queue: PriorityQueue) -> int:
    return int(priority_queue[1].rpartition(".")[2])
