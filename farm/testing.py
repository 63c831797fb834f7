"""For tests, and for who builds on the farm: a job store in this process's memory, and a plain bell.

The contract tests hold `MemoryJobStore` and the Redis form to the same promises.
"""

from __future__ import annotations

import json
import queue as queues
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from farm.errors import IdempotencyConflict, IllegalMove, JobNotFound
from farm.job import (
    AttemptNote,
    ErrorKind,
    EventKind,
    JobError,
    JobEvent,
    JobRecord,
    JobResult,
    JobState,
    Progress,
    utc_from_ms,
)
from farm.store.base import (
    Claim,
    Counts,
    LeaseAnswer,
    NewEvent,
    NewJob,
    Page,
    Queued,
    Refused,
    Ring,
    StoreLimits,
    Submitted,
    Swept,
)
from farm.store.codec import from_order, spec_digest, to_order
from farm.store.verdicts import DEADLINE_PASSED, RING_AGAIN_S, WORKER_LOST, lease_lost, workers_lost

Lane = tuple[int, str]  # priority, queue


class PlainBell:
    """A bell whose message is a small JSON object, for stores without Celery."""

    def __init__(self, prefix: str = "bell:") -> None:
        self._prefix = prefix

    def list_key(self, queue: str, priority: int) -> str:
        """Full name of the Redis list."""
        return f"{self._prefix}{queue}:{priority}"

    def message(self, job_id: str, *, queue: str, priority: int, title: str) -> bytes:
        """The message; `job_id_of` reads it."""
        return json.dumps({"job_id": job_id, "queue": queue, "priority": priority, "title": title}).encode()

    @staticmethod
    def job_id_of(message: bytes) -> str:
        """Which job a message rings for."""
        return str(json.loads(message)["job_id"])


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A job, and what the record does not show."""

    record: JobRecord
    order: int  # µs; unique
    rung: float
    deadline: datetime | None
    digest: str
    due: float | None = None  # must be rung by then
    avoid: dict[str, float] = field(default_factory=dict)  # worker -> until
    ended: tuple[int, str, Any] | None = None  # attempt, verb, answer of the last final write
    events: list[JobEvent] = field(default_factory=list)

    @property
    def lane(self) -> Lane:
        return self.record.spec.priority, self.record.queue


class MemoryJobStore:
    """The form of `JobStore` for one process: nothing is kept when it ends. Thread-safe.

    Args:
        clock: the store's time, in seconds since the epoch; a test may set its own.
    """

    def __init__(self, limits: StoreLimits | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits or StoreLimits()
        self._clock = clock
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._epoch = uuid.uuid4().hex
        self._jobs: dict[str, _Kept] = {}
        self._keys: dict[str, str] = {}  # idempotency key -> job id
        self._last_order = 0
        self._bells: dict[Lane, deque[str]] = {}  # popped from the right
        self._passed: dict[Lane, int] = {}
        self._workers: dict[str, tuple[float, dict[str, Any]]] = {}
        self._blobs: dict[str, tuple[float, bytes]] = {}
        self._locks: dict[str, tuple[float, str]] = {}
        self._feeds: list[_MemoryCancelFeed] = []

    # -- the worker's ear --------------------------------------------------------------------------

    def pop_bell(self, queue: str, priority: int | None = None) -> str | None:
        """Take the next message of a queue, as a worker does; None when there is none."""
        with self._lock:
            lanes = sorted(lane for lane, bells in self._bells.items() if lane[1] == queue and bells)
            wanted = [lane for lane in lanes if priority in (None, lane[0])]
            return self._bells[wanted[0]].pop() if wanted else None

    def bells(self, queue: str) -> list[str]:
        """The job ids of a queue's messages, next one first."""
        with self._lock:
            lanes = sorted(lane for lane in self._bells if lane[1] == queue)
            return [job_id for lane in lanes for job_id in reversed(self._bells[lane])]

    # -- moves of a producer -----------------------------------------------------------------------

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        """Store jobs as queued and ring their bells, in order."""
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
                    self._create(job)
                    done.append(Submitted(job_id=job.job_id, created=True))
        if conflict is not None:
            raise conflict
        return done

    def _create(self, job: NewJob) -> None:
        order = self._last_order = max(to_order(self._now()), self._last_order + 1)
        record = JobRecord(
            job_id=job.job_id,
            spec=job.spec,
            state=JobState.QUEUED,
            submitted_at=from_order(order),
            queue=job.queue,
        )
        kept = _Kept(
            record=record,
            order=order,
            rung=self._clock(),
            deadline=job.spec.deadline,
            digest=spec_digest(job.spec),
        )
        self._jobs[job.job_id] = kept
        if job.spec.idempotency_key is not None:
            self._keys[job.spec.idempotency_key] = job.job_id
        self._tell(kept)
        self._bells.setdefault(kept.lane, deque()).appendleft(job.job_id)

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        """Ask for the end of a job."""
        with self._lock:
            kept = self._kept(job_id)
            asked = kept.record.cancel_requested
            if not kept.record.state.final:
                self._set(kept, cancel_requested=True)
            if kept.record.state is JobState.QUEUED:
                self._finish(kept, JobState.CANCELED, reason=reason)
            elif kept.record.state is JobState.RUNNING:
                if not asked:
                    self._tell(kept, worker=kept.record.worker, cancel_requested=True, reason=reason)
                for feed in self._feeds:
                    feed.put(job_id)
            return kept.record.state

    def retry(self, job_id: str) -> JobState:
        """Queue a failed, canceled or expired job anew."""
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
                error=None,
                result=None,
                progress=None,
                started_at=None,
                finished_at=None,
            )
            self._tell(kept, reason="retry")
            self._ring_now(kept)
            return JobState.QUEUED

    # -- moves of a worker -------------------------------------------------------------------------

    def claim(self, job_id: str, *, worker: str) -> Claim | Refused:
        """Take the next attempt at a queued job."""
        with self._lock:
            kept, now = self._jobs.get(job_id), self._now()
            refused = self._refusal(kept, worker, now)
            if refused is not None or kept is None:
                return refused or Refused.UNKNOWN
            self._passed[kept.lane] = max(kept.order, self._passed.get(kept.lane, 0))
            kept.due = kept.deadline = None
            lease = now + timedelta(seconds=self.limits.lease_s)
            self._set(
                kept,
                state=JobState.RUNNING,
                attempt=kept.record.attempt + 1,
                worker=worker,
                claimed_at=now,
                started_at=kept.record.started_at or now,
                lease_until=lease,
                not_before=None,
                progress=None,
            )
            self._tell(kept, worker=worker)
            return Claim(
                job_id=job_id,
                attempt=kept.record.attempt,
                spec=kept.record.spec,
                submitted_at=kept.record.submitted_at,
                claimed_at=now,
                lease_until=lease,
            )

    def _refusal(self, kept: _Kept | None, worker: str, now: datetime) -> Refused | None:
        if kept is None:
            return Refused.UNKNOWN
        if kept.record.state is not JobState.QUEUED:
            return Refused.NOT_QUEUED
        if kept.deadline is not None and now >= kept.deadline:
            self._finish(kept, JobState.EXPIRED, reason=DEADLINE_PASSED)
            return Refused.EXPIRED
        if kept.record.not_before is not None and now < kept.record.not_before:
            return Refused.NOT_YET
        if self._clock() < kept.avoid.get(worker, 0.0):
            kept.due = kept.due or self._clock() + min(RING_AGAIN_S, self.limits.avoid_s)
            return Refused.NOT_HERE
        return None

    def renew(self, job_id: str, attempt: int) -> LeaseAnswer:
        """Prolong the lease by `lease_s` from now."""
        with self._lock:
            kept = self._held(job_id, attempt)
            if kept is None:
                return LeaseAnswer.LOST
            self._set(kept, lease_until=self._now() + timedelta(seconds=self.limits.lease_s))
            return LeaseAnswer.CANCELED if kept.record.cancel_requested else LeaseAnswer.OK

    def report(
        self, job_id: str, attempt: int, events: Sequence[NewEvent], *, progress: Progress | None = None
    ) -> LeaseAnswer:
        """Append events to the job's stream and keep `progress` in its record."""
        with self._lock:
            kept = self._held(job_id, attempt)
            if kept is None:
                return LeaseAnswer.LOST
            if progress is not None:
                self._set(kept, progress=progress)
            for event in events:
                self._append(kept, event.kind, event.data)
            return LeaseAnswer.CANCELED if kept.record.cancel_requested else LeaseAnswer.OK

    def succeed(self, job_id: str, attempt: int, result: JobResult) -> LeaseAnswer:
        """Commit the result."""

        def move(kept: _Kept) -> LeaseAnswer:
            if self._end_canceled(kept):
                return LeaseAnswer.CANCELED
            self._set(kept, result=result, error=None)
            self._note(kept, "succeeded")
            self._finish(kept, JobState.SUCCEEDED, worker=kept.record.worker)
            return LeaseAnswer.OK

        return LeaseAnswer(self._last_word(job_id, attempt, "succeed", move))

    def fail(
        self, job_id: str, attempt: int, error: JobError, *, retry_in_s: float | None
    ) -> JobState | LeaseAnswer:
        """End an attempt that failed; returns the new state, or ``LOST``."""

        def move(kept: _Kept) -> JobState:
            record = kept.record
            if record.cancel_requested:
                self._note(kept, "failed", error)
                self._finish(kept, JobState.CANCELED, worker=record.worker)
                return JobState.CANCELED
            failed = record.attempts_failed + (error.kind is not ErrorKind.MACHINE)
            self._note(kept, "failed", error)
            self._set(kept, error=error, attempts_failed=failed)
            if retry_in_s is None or failed >= record.spec.max_attempts:
                self._finish(kept, JobState.FAILED, worker=record.worker, reason=error.message)
                return JobState.FAILED
            self._requeue(kept, worker=record.worker, reason=error.message, retry_in_s=retry_in_s)
            kept.avoid[record.worker or ""] = self._clock() + self.limits.avoid_s
            if retry_in_s > 0:
                kept.due = self._clock() + retry_in_s
                self._set(kept, not_before=self._now() + timedelta(seconds=retry_in_s))
            else:
                self._ring_now(kept)
            return JobState.QUEUED

        word = self._last_word(job_id, attempt, "fail", move)
        return LeaseAnswer.LOST if word == LeaseAnswer.LOST else JobState(word)

    def release(self, job_id: str, attempt: int, *, reason: str) -> LeaseAnswer:
        """Give a running job back: queued at once, rung at the front."""

        def move(kept: _Kept) -> LeaseAnswer:
            if self._end_canceled(kept):
                return LeaseAnswer.CANCELED
            self._note(kept, "released")
            self._requeue(kept, worker=kept.record.worker, reason=reason)
            self._ring_now(kept)
            return LeaseAnswer.OK

        return LeaseAnswer(self._last_word(job_id, attempt, "release", move))

    def end_canceled(self, job_id: str, attempt: int) -> LeaseAnswer:
        """The worker has stopped a job whose cancel was requested: it is canceled now."""
        with self._lock:
            kept = self._jobs.get(job_id)
            if kept is None or kept.record.attempt != attempt:
                return LeaseAnswer.LOST
            if kept.record.state is JobState.CANCELED:
                return LeaseAnswer.OK
            held = kept.record.state is JobState.RUNNING and self._end_canceled(kept)
            return LeaseAnswer.OK if held else LeaseAnswer.LOST

    def _last_word(self, job_id: str, attempt: int, verb: str, move: Callable[[_Kept], str]) -> str:
        """The answer of `move`; of its first call, when an attempt says the same thing twice."""
        with self._lock:
            kept = self._jobs.get(job_id)
            if kept is not None and kept.ended is not None and kept.ended[:2] == (attempt, verb):
                return str(kept.ended[2])
            if kept is None or self._held(job_id, attempt) is None:
                return LeaseAnswer.LOST
            answer = move(kept)
            kept.ended = (attempt, verb, answer)
            return answer

    # -- repair ------------------------------------------------------------------------------------

    def sweep(self) -> Swept:
        """Repair what died; rings by itself."""
        with self._lock:
            lost = self._first(k for k in self._in(JobState.RUNNING) if self._lease_is_over(k))
            for kept in lost:
                self._take(kept)
            late = self._first(
                k for k in self._in(JobState.QUEUED) if k.deadline is not None and k.deadline <= self._now()
            )
            for kept in late:
                self._finish(kept, JobState.EXPIRED, reason=DEADLINE_PASSED)
            rings = [_front(kept) for kept in self._due()]
            self.ring(rings)
            missing = [_front(kept) for kept in self._missing()]
            self.ring(missing)
            return Swept(
                rings=(*rings, *missing),
                lost=tuple(kept.record.job_id for kept in lost),
                expired=tuple(kept.record.job_id for kept in late),
                purged=self._purge(),
            )

    def _lease_is_over(self, kept: _Kept) -> bool:
        return kept.record.lease_until is not None and kept.record.lease_until <= self._now()

    def _take(self, kept: _Kept) -> None:
        record = kept.record
        error = lease_lost(record.worker or "", record.attempt, self.limits.lease_s)
        self._note(kept, "lost", error)
        self._set(kept, attempts_lost=record.attempts_lost + 1, error=error)
        if record.cancel_requested:
            self._set(kept, error=None)
            self._finish(kept, JobState.CANCELED, worker=record.worker, reason=WORKER_LOST)
        elif kept.record.attempts_lost >= self.limits.max_lost_attempts:
            poison = workers_lost(kept.record.attempts_lost, record.worker or "", kept.record.attempts)
            self._set(kept, error=poison)
            self._finish(kept, JobState.FAILED, worker=record.worker, reason=poison.message)
        else:
            self._requeue(kept, worker=record.worker, reason=WORKER_LOST)
            kept.due = self._clock()

    def _due(self) -> list[_Kept]:
        now = self._clock()
        due = self._first(k for k in self._in(JobState.QUEUED) if k.due is not None and k.due <= now)
        for kept in due:
            self._set(kept, not_before=None)
        return due

    def _missing(self) -> list[_Kept]:
        """As scripts/sweep_lane.lua finds them."""
        lanes: dict[Lane, list[_Kept]] = {}
        for kept in self._in(JobState.QUEUED):
            if kept.record.not_before is None:
                lanes.setdefault(kept.lane, []).append(kept)
        found: list[_Kept] = []
        for lane, waiting in lanes.items():
            messages = len(self._bells.get(lane, ()))
            wanted, younger = min(len(waiting), self.limits.sweep_batch) - messages, self._last_order + 1
            if wanted <= 0 and waiting[0].order < self._passed.get(lane, 0):
                wanted = self.limits.sweep_batch if messages < len(waiting) + self.limits.sweep_batch else 1
                younger = self._passed[lane]
            last_ring = self._clock() - self.limits.ring_again_after_s
            old = [k for k in waiting if k.order < younger and k.rung <= last_ring]
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
            del self._jobs[kept.record.job_id]
            key = kept.record.spec.idempotency_key
            if key is not None and self._keys.get(key) == kept.record.job_id:
                del self._keys[key]
        return len(old)

    def ring(self, rings: Sequence[Ring]) -> None:
        """Put the bell of each job into its queue (again)."""
        with self._lock:
            for ring in reversed(rings):
                kept = self._jobs.get(ring.job_id)
                if kept is None or kept.record.state is not JobState.QUEUED:
                    continue
                kept.rung, kept.due = self._clock(), None
                bells = self._bells.setdefault((ring.priority, ring.queue), deque())
                (bells.append if ring.front else bells.appendleft)(ring.job_id)

    # -- reads -------------------------------------------------------------------------------------

    def get(self, job_id: str) -> JobRecord:
        """The job as it is now."""
        with self._lock:
            return self._kept(job_id).record

    def find(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Jobs submitted within [since, until), newest first; filters are joined by *and*."""
        below = None if cursor is None else int(cursor)
        with self._lock:
            found = [
                kept
                for kept in sorted(self._jobs.values(), key=lambda kept: -kept.order)
                if state in (None, kept.record.state)
                and (label is None or label in kept.record.spec.labels)
                and (since is None or kept.record.submitted_at >= since)
                and (until is None or kept.record.submitted_at < until)
                and (below is None or kept.order < below)
            ]
        more = str(found[limit - 1].order) if len(found) > limit else None
        return Page(jobs=tuple(kept.record for kept in found[:limit]), next_cursor=more)

    def counts(self) -> Counts:
        """How many jobs are in each state, and how many wait in each queue and priority."""
        with self._lock:
            by_state = {state: len(self._in(state)) for state in JobState}
            lanes: dict[Lane, int] = {}
            for kept in self._in(JobState.QUEUED):
                if kept.record.not_before is None:
                    lanes[kept.lane] = lanes.get(kept.lane, 0) + 1
        waiting = [Queued(queue=q, priority=p, waiting=count) for (p, q), count in sorted(lanes.items())]
        return Counts(by_state=by_state, waiting=tuple(waiting))

    def events(
        self, job_id: str, *, after: str = "0", limit: int = 100, block_s: float = 0.0
    ) -> list[JobEvent]:
        """Events after `after`, oldest first; waits up to `block_s` when there is none yet."""
        until = time.monotonic() + block_s
        with self._news:
            while True:
                kept = self._kept(job_id)
                found = [event for event in kept.events if int(event.event_id) > int(after)]
                left_s = until - time.monotonic()
                if found or kept.record.state.final or left_s <= 0:
                    return found[:limit]
                self._news.wait(left_s)

    def news(
        self, after: Mapping[str, str], *, limit: int = 100, block_s: float = 0.0
    ) -> dict[str, list[JobEvent]]:
        """Events of several jobs, of each those after its event id, oldest first."""
        until = time.monotonic() + block_s
        with self._news:
            while True:
                found = {
                    job_id: news[:limit]
                    for job_id, seen in after.items()
                    if (news := self._events_after(job_id, seen))
                }
                left_s = until - time.monotonic()
                if found or left_s <= 0:
                    return found
                self._news.wait(left_s)

    def _events_after(self, job_id: str, seen: str) -> list[JobEvent]:
        kept = self._jobs.get(job_id)
        # As in Redis, where a job that was never claimed has no stream yet.
        if kept is None or len(kept.events) < 2:
            return []
        return [event for event in kept.events if int(event.event_id) > int(seen)]

    def listen_control(self) -> _MemoryCancelFeed:
        """Cancels as they are requested; for one thread, which closes it."""
        feed = _MemoryCancelFeed(self._feeds)
        self._feeds.append(feed)
        return feed

    def ping(self) -> dict[str, Any]:
        """Facts of this store."""
        return {"server": "memory", "now": self._now(), "epoch": self._epoch, "append_only": False}

    def close(self) -> None:
        """Nothing to give back."""

    # -- workers and locks -------------------------------------------------------------------------

    def put_worker(self, name: str, card: dict[str, Any], *, ttl_s: float) -> None:
        """Keep a worker's card for `ttl_s`."""
        with self._lock:
            self._workers[name] = (self._clock() + ttl_s, json.loads(json.dumps(card)))

    def drop_worker(self, name: str) -> None:
        """Forget a worker's card."""
        with self._lock:
            self._workers.pop(name, None)

    def workers(self) -> list[dict[str, Any]]:
        """The cards of all workers that live, by name."""
        with self._lock:
            now = self._clock()
            return [card for _, (until, card) in sorted(self._workers.items()) if until > now]

    def put_blob(self, name: str, data: bytes, *, ttl_s: float) -> None:
        """Keep something that is too large for a card."""
        with self._lock:
            self._blobs[name] = (self._clock() + ttl_s, bytes(data))

    def get_blob(self, name: str) -> bytes | None:
        """What `put_blob` keeps under that name."""
        with self._lock:
            until, data = self._blobs.get(name, (0.0, b""))
            return data if until > self._clock() else None

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or keep a named lock for `ttl_s`."""
        with self._lock:
            until, owner = self._locks.get(name, (0.0, holder))
            if owner != holder and until > self._clock():
                return False
            self._locks[name] = (self._clock() + ttl_s, holder)
            return True

    def unlock(self, name: str, holder: str) -> None:
        """Give a lock back, if it is still this holder's."""
        with self._lock:
            if name in self._locks and self._locks[name][1] == holder:
                del self._locks[name]

    # -- how ---------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return utc_from_ms(int(self._clock() * 1000))

    def _kept(self, job_id: str) -> _Kept:
        kept = self._jobs.get(job_id)
        if kept is None:
            raise JobNotFound(job_id)
        return kept

    def _held(self, job_id: str, attempt: int) -> _Kept | None:
        kept = self._jobs.get(job_id)
        if kept is None or kept.record.state is not JobState.RUNNING or kept.record.attempt != attempt:
            return None
        return kept

    def _in(self, state: JobState) -> list[_Kept]:
        return [kept for kept in self._jobs.values() if kept.record.state is state]

    def _first(self, found: Iterable[_Kept]) -> list[_Kept]:
        return list(found)[: self.limits.sweep_batch]

    def _set(self, kept: _Kept, **changes: Any) -> None:
        kept.record = replace(kept.record, **changes)

    def _note(self, kept: _Kept, outcome: str, error: JobError | None = None) -> None:
        record, now = kept.record, self._now()
        note = AttemptNote(
            attempt=record.attempt,
            worker=record.worker or "",
            outcome=outcome,
            started_at=record.claimed_at or now,
            ended_at=now,
            error=error,
        )
        self._set(kept, attempts=(*record.attempts, note))

    def _end_canceled(self, kept: _Kept) -> bool:
        if not kept.record.cancel_requested:
            return False
        self._note(kept, "canceled")
        self._finish(kept, JobState.CANCELED, worker=kept.record.worker)
        return True

    def _finish(self, kept: _Kept, state: JobState, **told: Any) -> None:
        self._set(kept, state=state, finished_at=self._now(), lease_until=None, not_before=None)
        kept.due, kept.deadline, kept.avoid = None, None, {}
        self._tell(kept, **told)

    def _requeue(self, kept: _Kept, **told: Any) -> None:
        self._set(kept, state=JobState.QUEUED, lease_until=None, progress=None)
        self._tell(kept, **told)

    def _ring_now(self, kept: _Kept) -> None:
        self.ring([_front(kept)])

    def _tell(self, kept: _Kept, **facts: Any) -> None:
        record = kept.record
        self._append(kept, EventKind.STATE, {"state": record.state, "attempt": record.attempt, **facts})

    def _append(self, kept: _Kept, kind: EventKind, data: dict[str, Any]) -> None:
        number = int(kept.events[-1].event_id) + 1 if kept.events else 1
        kept.events.append(
            JobEvent(
                event_id=str(number),
                job_id=kept.record.job_id,
                at=self._now(),
                kind=kind,
                data=json.loads(json.dumps(data)),
            )
        )
        del kept.events[: -self.limits.events_kept]
        self._news.notify_all()


class _MemoryCancelFeed:
    def __init__(self, feeds: list[_MemoryCancelFeed]) -> None:
        self._feeds = feeds
        self._ids: queues.SimpleQueue[str] = queues.SimpleQueue()

    def put(self, job_id: str) -> None:
        self._ids.put(job_id)

    def next(self, timeout_s: float) -> str | None:
        try:
            return self._ids.get(timeout=timeout_s)
        except queues.Empty:
            return None

    def close(self) -> None:
        if self in self._feeds:
            self._feeds.remove(self)


def _front(kept: _Kept) -> Ring:
    spec = kept.record.spec
    return Ring(
        job_id=kept.record.job_id,
        queue=kept.record.queue,
        priority=spec.priority,
        title=spec.title,
        front=True,
    )
