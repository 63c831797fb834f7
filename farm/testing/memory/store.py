"""`MemoryJobStore`: the form of the job store for one process."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from farm.errors import IdempotencyConflict, IllegalMove
from farm.job import ErrorKind, JobError, JobRecord, JobResult, JobState, Progress
from farm.store.base import Claim, LeaseAnswer, NewEvent, NewJob, Refused, Submitted, kept_reason
from farm.store.codec import from_order, spec_digest, to_order
from farm.store.tally import spent_fields
from farm.store.verdicts import (
    DEADLINE_PASSED,
    LEFT_TO_OTHERS,
    NOTIFY_AGAIN_S,
    machines_failed,
    no_worker_can,
)
from farm.testing.memory.fleet import MemoryFleet
from farm.testing.memory.reading import MemoryReading
from farm.testing.memory.repair import MemoryRepair
from farm.testing.memory.state import Kept
from farm.testing.memory.steering import MemorySteering
from farm.testing.memory.webhooks import MemoryWebhooks


class MemoryJobStore(MemoryWebhooks, MemoryReading, MemorySteering, MemoryRepair, MemoryFleet):
    """The form of `JobStore`, which has the promises of each method, for one process. Thread-safe.

    Args:
        clock: the store's time, in seconds since the epoch; a test may set its own.
    """

    # -- moves of a producer -----------------------------------------------------------------------

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        conflict: IdempotencyConflict | None = None
        done = []
        with self._lock:
            for job in jobs:
                key = job.spec.idempotency_key
                older = self._keys.get(key) if key is not None else None
                if job.job_id in self._jobs:
                    done.append(Submitted(job_id=job.job_id, created=False))
                elif key is not None and older is not None:
                    if self._jobs[older].digest != spec_digest(job.spec):
                        conflict = conflict or IdempotencyConflict(key, older)
                    done.append(Submitted(job_id=older, created=False))
                else:
                    reused = self._create(job)
                    done.append(Submitted(job_id=job.job_id, created=True, reused=reused))
        if conflict is not None:
            raise conflict
        return done

    def _create(self, job: NewJob) -> bool:
        """Keep a new job; whether it has a result already."""
        order = self._last_order = max(to_order(self._now()), self._last_order + 1)
        record = JobRecord(
            job_id=job.job_id,
            spec=job.spec,
            state=JobState.QUEUED,
            submitted_at=from_order(order),
            queue=job.queue,
            parked=job.parked,
        )
        kept = Kept(
            record=record,
            order=order,
            notified=self._clock(),
            deadline=job.spec.deadline,
            digest=spec_digest(job.spec),
            content=job.content,
        )
        self._jobs[job.job_id] = kept
        if job.spec.idempotency_key is not None:
            self._keys[job.spec.idempotency_key] = job.job_id
        self._tell(kept)
        maker = self._contents.get(job.content) if job.content is not None else None
        if maker is not None and maker == job.reuses:
            self._set(kept, result=self._jobs[maker].record.result, parked=None, reused_from=maker)
            self._finish(kept, JobState.SUCCEEDED, reused_from=maker)
            return True
        if job.parked is None:
            self._notifications.setdefault(kept.priority_queue, deque()).appendleft(job.job_id)
        return False

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        with self._lock:
            self._cancel(self._kept(job_id), kept_reason(reason))
            return self._kept(job_id).record.state

    def unpark(self, job_ids: Sequence[str], *, reason: str) -> int:
        with self._lock:
            found = [self._jobs[job_id] for job_id in job_ids if job_id in self._jobs]
            parked = [kept for kept in found if kept.record.parked is not None]
            for kept in reversed(parked):
                self._set(kept, parked=None)
                self._tell(kept, reason=reason)
                self._notify_now(kept)
            return len(parked)

    def retry(self, job_id: str) -> JobState:
        with self._lock:
            kept = self._kept(job_id)
            if kept.record.state not in (JobState.FAILED, JobState.CANCELED, JobState.EXPIRED):
                raise IllegalMove(job_id, kept.record.state, "queued again")
            self._set(
                kept,
                state=JobState.QUEUED,
                attempts_failed=0,
                attempts_lost=0,
                cancel_requested=False,
                cancel_reason=None,
                error=None,
                report=None,
                result=None,
                progress=None,
                started_at=None,
                finished_at=None,
            )
            kept.machine_failures = 0
            self._tell(kept, reason="retry")
            self._notify_now(kept)
            return JobState.QUEUED

    # -- moves of a worker -------------------------------------------------------------------------

    def claim(self, job_id: str, *, worker: str, priority: int | None = None) -> Claim | Refused:
        with self._lock:
            kept, now = self._jobs.get(job_id), self._now()
            refused = self._refusal(kept, worker, now, priority)
            if refused is not None or kept is None:
                return refused or Refused.UNKNOWN
            if kept.waits:
                self._passed[kept.priority_queue] = max(kept.order, self._passed.get(kept.priority_queue, 0))
            kept.due = kept.deadline = kept.held = None
            lease = now + timedelta(seconds=self.limits.lease_s)
            kept.token = uuid.uuid4().hex
            self._set(
                kept,
                state=JobState.RUNNING,
                attempt=kept.record.attempt + 1,
                token=kept.token,
                worker=worker,
                claimed_at=now,
                started_at=kept.record.started_at or now,
                lease_until=lease,
                not_before=None,
                parked=None,
                progress=None,
            )
            self._tell(kept, worker=worker)
            return Claim(
                job_id=job_id,
                token=kept.token,
                attempt=kept.record.attempt,
                spec=kept.record.spec,
                submitted_at=kept.record.submitted_at,
                claimed_at=now,
                lease_until=lease,
            )

    def _refusal(self, kept: Kept | None, worker: str, now: datetime, priority: int | None) -> Refused | None:
        if kept is None:
            return Refused.UNKNOWN
        if kept.record.state is not JobState.QUEUED:
            return Refused.NOT_QUEUED
        if kept.deadline is not None and now >= kept.deadline:
            self._finish(kept, JobState.EXPIRED, reason=DEADLINE_PASSED)
            return Refused.EXPIRED
        if kept.record.paused_at is not None or _is_less_urgent(kept, priority):
            return Refused.PAUSED if kept.record.paused_at is not None else Refused.MOVED
        return self._refusal_here(kept, worker, now)

    def _refusal_here(self, kept: Kept, worker: str, now: datetime) -> Refused | None:
        is_holder = kept.held is not None and kept.held == worker  # it has the finished files
        if not is_holder and kept.record.not_before is not None and now < kept.record.not_before:
            return Refused.NOT_YET
        if not is_holder and self._is_left_to_others(kept, worker):
            kept.due = kept.due or self._clock() + min(NOTIFY_AGAIN_S, self.limits.avoid_s)
            return Refused.NOT_HERE
        return None

    def _is_left_to_others(self, kept: Kept, worker: str) -> bool:
        if worker in kept.unsuitable and self._untried(kept):
            return True
        if worker not in kept.avoid:
            return False
        until, now = kept.avoid[worker], self._clock()
        longer = now < until + LEFT_TO_OTHERS * self.limits.avoid_s
        return now < until or (longer and self._another_can(kept, worker))

    def _another_can(self, kept: Kept, worker: str) -> bool:
        """As scripts/claim.lua finds out."""
        tried = {worker, *kept.avoid, *kept.unsuitable}
        return self._somebody(
            kept.record.queue,
            lambda name, status: name not in tried and (worker in kept.doubts or not status.not_fetching),
        )

    def _tried_everywhere(self, kept: Kept) -> bool:
        """Note that its worker has not what it needs; whether nobody is left who might."""
        worker = kept.record.worker or ""
        if worker not in kept.unsuitable:
            kept.unsuitable.append(worker)
        return len(kept.unsuitable) >= self.limits.max_unsuitable or not self._untried(kept)

    def _untried(self, kept: Kept) -> bool:
        """Whether a worker lives that has not been found without what it needs; it may be busy."""
        return self._somebody(kept.record.queue, lambda name, _: name not in kept.unsuitable)

    def renew(self, job_id: str, attempt: int, *, token: str = "") -> LeaseAnswer:
        with self._lock:
            kept = self._held(job_id, attempt, token)
            if kept is None:
                return LeaseAnswer.LOST
            self._set(kept, lease_until=self._now() + timedelta(seconds=self.limits.lease_s))
            return LeaseAnswer.CANCELED if kept.record.cancel_requested else LeaseAnswer.OK

    def report(
        self,
        job_id: str,
        attempt: int,
        events: Sequence[NewEvent],
        *,
        progress: Progress | None = None,
        token: str = "",
    ) -> LeaseAnswer:
        with self._lock:
            kept = self._held(job_id, attempt, token)
            if kept is None:
                return LeaseAnswer.LOST
            if progress is not None:
                self._set(kept, progress=progress)
            for event in events:
                self._append(kept, event.kind, event.data)
            return LeaseAnswer.CANCELED if kept.record.cancel_requested else LeaseAnswer.OK

    def succeed(self, job_id: str, attempt: int, result: JobResult, *, token: str = "") -> LeaseAnswer:

        def move(kept: Kept) -> LeaseAnswer:
            if self._end_canceled(kept):
                return LeaseAnswer.CANCELED
            self._set(kept, result=result, error=None, report=None)
            if kept.content is not None:
                self._contents[kept.content] = job_id
            self._note(kept, "succeeded")
            self._tally.update(dict(spent_fields(result)))
            self._finish(kept, JobState.SUCCEEDED, worker=kept.record.worker)
            return LeaseAnswer.OK

        return LeaseAnswer(self._last_word(job_id, attempt, token, "succeed", move))

    def fail(
        self,
        job_id: str,
        attempt: int,
        error: JobError,
        *,
        retry_in_s: float | None,
        queue: str | None = None,
        doubt: str = "",
        report: Mapping[str, Any] | None = None,
        token: str = "",
    ) -> JobState | LeaseAnswer:

        def move(kept: Kept) -> JobState:
            record = kept.record
            now = self._now()  # once, as a script has one: what is told twice is to be the same
            again_at = now + timedelta(seconds=retry_in_s or 0)
            kept_until = now + timedelta(seconds=self.limits.avoid_s)
            if record.cancel_requested:
                self._note(kept, "failed", error, again_at=again_at, kept_until=kept_until)
                self._finish(kept, JobState.CANCELED, worker=record.worker)
                return JobState.CANCELED
            is_first = not kept.doubts
            in_doubt = bool(doubt) and self._is_in_doubt(kept, doubt)
            counts = error.kind not in (ErrorKind.MACHINE, ErrorKind.UNSUITABLE) and not (
                in_doubt and is_first
            )
            failed = record.attempts_failed + counts
            self._note(kept, "failed", error, again_at=again_at, kept_until=kept_until)
            told = record.report if report is None else dict(report)
            self._set(kept, error=error, report=told, attempts_failed=failed)
            kept.machine_failures += error.kind is ErrorKind.MACHINE
            if kept.machine_failures >= self.limits.max_machine_failures:
                worker = record.worker or ""
                poison = machines_failed(kept.machine_failures, worker, kept.record.attempts, error.message)
                self._set(kept, error=poison)
                self._finish(kept, JobState.FAILED, worker=worker, reason=poison.message)
                return JobState.FAILED
            at_fault = counts or error.kind is ErrorKind.MACHINE
            is_unsuitable = error.kind is ErrorKind.UNSUITABLE
            if is_unsuitable and retry_in_s is not None and self._tried_everywhere(kept):
                nowhere = no_worker_can(kept.unsuitable, error.message)
                self._set(kept, error=nowhere)
                self._finish(kept, JobState.FAILED, worker=record.worker, reason=nowhere.message)
                return JobState.FAILED
            is_proven = bool(doubt) and not in_doubt
            if retry_in_s is None or is_proven or (at_fault and failed >= record.spec.max_attempts):
                self._finish(kept, JobState.FAILED, worker=record.worker, reason=error.message)
                return JobState.FAILED
            if queue is not None:
                self._set(kept, queue=queue)
            self._requeue(kept, worker=record.worker, reason=error.message, retry_in_s=retry_in_s)
            kept.avoid[record.worker or ""] = self._clock() + self.limits.avoid_s
            if retry_in_s > 0:
                kept.due = self._clock() + retry_in_s
                self._set(kept, not_before=again_at)
            else:
                self._notify_now(kept)
            return JobState.QUEUED

        word = self._last_word(job_id, attempt, token, "fail", move)
        return LeaseAnswer.LOST if word == LeaseAnswer.LOST else JobState(word)

    def _is_in_doubt(self, kept: Kept, doubt: str) -> bool:
        """Note how it failed; whether another worker is to try before that is final."""
        worker, is_first = kept.record.worker or "", not kept.doubts
        alike = any(doubt == how for name, how in kept.doubts.items() if name != worker)
        kept.doubts[worker] = doubt
        tried = {*kept.doubts, *kept.unsuitable}
        return not alike and self._somebody(
            kept.record.queue,
            lambda name, status: name not in tried and (is_first or not status.not_fetching),
        )

    def release(self, job_id: str, attempt: int, *, reason: str, token: str = "") -> LeaseAnswer:

        def move(kept: Kept) -> LeaseAnswer:
            if self._end_canceled(kept):
                return LeaseAnswer.CANCELED
            self._note(kept, "released")
            self._requeue(kept, worker=kept.record.worker, reason=reason)
            self._notify_now(kept)
            return LeaseAnswer.OK

        return LeaseAnswer(self._last_word(job_id, attempt, token, "release", move))

    def put_on_hold(
        self, job_id: str, attempt: int, error: JobError, *, hold_s: float, token: str = ""
    ) -> JobState | LeaseAnswer:

        def move(kept: Kept) -> JobState:
            worker = kept.record.worker
            self._note(kept, "unpublished", error)
            if kept.record.cancel_requested:
                self._finish(kept, JobState.CANCELED, worker=worker)
                return JobState.CANCELED
            self._requeue(kept, worker=worker, reason=error.message, held_by=worker)
            self._set(kept, error=error)
            kept.held = worker
            self._hold(kept, hold_s)
            return JobState.QUEUED

        word = self._last_word(job_id, attempt, token, "hold", move)
        return LeaseAnswer.LOST if word == LeaseAnswer.LOST else JobState(word)

    def keep_on_hold(self, job_id: str, worker: str, *, hold_s: float) -> bool:
        with self._lock:
            kept = self._jobs.get(job_id)
            if kept is None or kept.record.state is not JobState.QUEUED:
                return False
            if kept.held != worker or kept.record.not_before is None:
                return False
            self._hold(kept, hold_s)
            return True

    def _hold(self, kept: Kept, hold_s: float) -> None:
        kept.due = self._clock() + hold_s
        self._set(kept, not_before=self._now() + timedelta(seconds=hold_s))

    def end_canceled(self, job_id: str, attempt: int, *, token: str = "") -> LeaseAnswer:
        with self._lock:
            kept = self._jobs.get(job_id)
            if kept is None or kept.record.attempt != attempt:
                return LeaseAnswer.LOST
            if kept.record.state is JobState.CANCELED:
                return LeaseAnswer.OK
            ended = self._held(job_id, attempt, token) is not None and self._end_canceled(kept)
            return LeaseAnswer.OK if ended else LeaseAnswer.LOST

    def _last_word(
        self, job_id: str, attempt: int, token: str, verb: str, move: Callable[[Kept], str]
    ) -> str:
        """The answer of `move`; of its first call, when an attempt says the same thing twice."""
        with self._lock:
            kept = self._jobs.get(job_id)
            said = kept.ended if kept is not None and token in ("", kept.token) else None
            if said is not None and said[:2] == (attempt, verb):
                return str(said[2])
            if kept is None or self._held(job_id, attempt, token) is None:
                return LeaseAnswer.LOST
            answer = move(kept)
            kept.ended = (attempt, verb, answer)
            return answer


def _is_less_urgent(kept: Kept, priority: int | None) -> bool:
    return priority is not None and kept.record.spec.priority > priority
