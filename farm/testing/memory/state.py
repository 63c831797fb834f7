"""What every part of the store in memory needs: the jobs, and the steps that moves are made of."""

from __future__ import annotations

import json
import queue as queues
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from comfy.wan.paces import Pace
from farm.errors import JobForgotten, JobNotFound
from farm.job import AttemptNote, EventKind, JobError, JobEvent, JobRecord, JobState, utc_from_ms
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerStatus
from farm.store.base import Drain, Notification, StoreLimits
from farm.store.tally import REUSED, ended_field
from farm.store.verdicts import BACK_SOON_S

_GONE: Final = WorkerStatus(name="gone", not_fetching=(NotFetching.STARTING,))
PriorityQueue = tuple[int, str]  # priority, queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A lease that ran out."""

    token: str
    worker: str
    publishing: bool


@dataclass(slots=True, kw_only=True)
class Kept:
    """A job, and what the record does not show."""

    record: JobRecord
    order: int  # µs; unique
    notified: float
    deadline: datetime | None
    digest: str
    content: str | None = None
    token: str = ""  # of the last claim
    losses: list[Loss] = field(default_factory=list)  # of workers that were not heard of since
    machine_failures: int = 0  # failures for a machine's reasons
    due: float | None = None  # must be announced by then
    avoid: dict[str, float] = field(default_factory=dict)  # worker -> until
    unsuitable: list[str] = field(default_factory=list)  # workers without what it needs
    doubts: dict[str, str] = field(default_factory=dict)  # worker -> in which way it failed there
    held: str | None = None  # the worker that has its finished files
    ended: tuple[int, str, Any] | None = None  # attempt, verb, answer of the last final write
    events: list[JobEvent] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether it is in its priority queue."""
        record = self.record
        return record.state is JobState.QUEUED and not (
            record.not_before or record.parked or record.paused_at
        )

    @property
    def priority_queue(self) -> PriorityQueue:
        """Where it waits."""
        return self.record.spec.priority, self.record.queue


class MemoryCancelFeed:
    """Hears of cancels within this process."""

    def __init__(self, feeds: list[MemoryCancelFeed]) -> None:
        self._feeds = feeds
        self._ids: queues.SimpleQueue[str] = queues.SimpleQueue()

    def put(self, job_id: str) -> None:
        """Tell of one."""
        self._ids.put(job_id)

    def next(self, timeout_s: float) -> str | None:
        try:
            return self._ids.get(timeout=timeout_s)
        except queues.Empty:
            return None

    def close(self) -> None:
        """Hear no more."""
        if self in self._feeds:
            self._feeds.remove(self)


class MemoryState:
    """Base of the parts of `MemoryJobStore`.

    Args:
        clock: the store's time, in seconds since the epoch; a test may set its own.
    """

    def __init__(self, limits: StoreLimits | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits or StoreLimits()
        self._clock = clock
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._feeds: list[MemoryCancelFeed] = []
        self.lose_everything()

    def lose_everything(self) -> None:
        """Lose everything, as a Redis without its file does."""
        self._epoch = uuid.uuid4().hex
        self._forgot_at: datetime | None = None
        self._jobs: dict[str, Kept] = {}
        self._keys: dict[str, str] = {}  # idempotency key -> job id
        self._contents: dict[str, str] = {}  # content -> the job that made it last
        self._last_order = 0
        self._notifications: dict[PriorityQueue, deque[str]] = {}  # popped from the right
        self._passed: dict[PriorityQueue, int] = {}
        self._tally: Counter[str] = Counter()
        self._workers: dict[str, tuple[float, WorkerStatus]] = {}
        self._lately: dict[str, tuple[float, int]] = {}  # when it was heard of, and its GiB
        self._removed: dict[str, None] = {}
        self._blobs: dict[str, tuple[float, bytes]] = {}
        self._locks: dict[str, tuple[float, str]] = {}
        self._drains: dict[str, Drain] = {}
        self._paces: dict[str, Pace] = {}

    def notify(self, notifications: Sequence[Notification]) -> None:
        with self._lock:
            for notification in reversed(notifications):
                kept = self._jobs.get(notification.job_id)
                if kept is None or kept.record.state is not JobState.QUEUED:
                    continue
                if kept.record.not_before is not None:
                    continue  # a retry that waits: its time is all that will ever announce it
                kept.notified, kept.due = self._clock(), None
                queued = self._notifications.setdefault((notification.priority, notification.queue), deque())
                (queued.append if notification.front else queued.appendleft)(notification.job_id)

    def _now(self) -> datetime:
        return utc_from_ms(int(self._clock() * 1000))

    def _living(self) -> dict[str, WorkerStatus]:
        now = self._clock()
        return {name: status for name, (until, status) in self._workers.items() if until > now}

    def _somebody(self, queue: str, may: Callable[[str, WorkerStatus], bool]) -> bool:
        """As scripts/_common.lua finds out."""
        gib, living = int(queue.rpartition(".")[2]), self._living()
        able = {name: status for name, status in living.items() if (status.vram_gib or 0) >= gib}
        gone = self._back_soon().items()
        able |= {name: _GONE for name, its_gib in gone if its_gib >= gib and name not in living}
        return any(may(name, status) for name, status in able.items())

    def _back_soon(self) -> dict[str, int]:
        """GiB of workers that were heard of within a minute of whoever was heard of last."""
        last = max((heard for heard, _ in self._lately.values()), default=0.0)
        return {name: gib for name, (heard, gib) in self._lately.items() if heard >= last - BACK_SOON_S}

    def _kept(self, job_id: str) -> Kept:
        kept = self._jobs.get(job_id)
        if kept is None:
            raise JobNotFound(job_id) if self._forgot_at is None else JobForgotten(job_id, self._forgot_at)
        return kept

    def _held(self, job_id: str, attempt: int, token: str) -> Kept | None:
        kept = self._jobs.get(job_id)
        if kept is None:
            return None
        record = kept.record
        if record.state is JobState.RUNNING and record.attempt == attempt and token in ("", kept.token):
            return kept
        # Whoever writes lives: the job has lost no worker by that lease.
        kept.losses = [each for each in kept.losses if each.token != token]
        return None

    def _in(self, state: JobState) -> list[Kept]:
        return [kept for kept in self._jobs.values() if kept.record.state is state]

    def _first(self, found: Iterable[Kept]) -> list[Kept]:
        return list(found)[: self.limits.sweep_batch]

    def _set(self, kept: Kept, **changes: Any) -> None:
        kept.record = replace(kept.record, **changes)

    def _note(
        self, kept: Kept, outcome: str, error: JobError | None = None, **moments: datetime | None
    ) -> None:
        record, now = kept.record, self._now()
        note = AttemptNote(
            attempt=record.attempt,
            worker=record.worker or "",
            outcome=outcome,
            started_at=record.claimed_at or now,
            ended_at=now,
            error=error,
            **moments,
        )
        self._set(kept, attempts=(*record.attempts, note))

    def _end_canceled(self, kept: Kept) -> bool:
        if not kept.record.cancel_requested:
            return False
        self._note(kept, "canceled")
        self._finish(kept, JobState.CANCELED, worker=kept.record.worker)
        return True

    def _finish(self, kept: Kept, state: JobState, **told: Any) -> None:
        code = REUSED if "reused_from" in told else ""
        if state is JobState.FAILED and kept.record.error is not None:
            code = kept.record.error.code
        self._tally[ended_field(state, code)] += 1
        if state is JobState.CANCELED and kept.record.cancel_reason is not None:
            told["reason"] = kept.record.cancel_reason
        self._set(kept, state=state, finished_at=self._now(), lease_until=None, not_before=None, parked=None)
        self._set(kept, paused_at=None)
        if state is not JobState.SUCCEEDED:
            self._set(kept, token=None)
        elif kept.record.progress is not None:
            self._set(kept, progress=kept.record.progress.at_end())
        kept.due = kept.deadline = kept.held = None
        kept.avoid, kept.unsuitable, kept.doubts, kept.losses = {}, [], {}, []
        self._tell(kept, **told)

    def _drop(self, kept: Kept) -> None:
        """Forget a job, and what points at it."""
        job_id, key = kept.record.job_id, kept.record.spec.idempotency_key
        del self._jobs[job_id]
        if kept.content is not None and self._contents.get(kept.content) == job_id:
            del self._contents[kept.content]
        if key is not None and self._keys.get(key) == job_id:
            del self._keys[key]

    def _requeue(self, kept: Kept, **told: Any) -> None:
        self._set(kept, state=JobState.QUEUED, token=None, lease_until=None, progress=None)
        self._tell(kept, **told)

    def _notify_now(self, kept: Kept) -> None:
        self.notify([front_notification(kept)])

    def _tell(self, kept: Kept, **facts: Any) -> None:
        record = kept.record
        self._append(kept, EventKind.STATE, {"state": record.state, "attempt": record.attempt, **facts})

    def _append(self, kept: Kept, kind: EventKind, data: dict[str, Any]) -> None:
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


def front_notification(kept: Kept) -> Notification:
    """A notification that lets a job that has waited already go first."""
    spec = kept.record.spec
    return Notification(
        job_id=kept.record.job_id,
        queue=kept.record.queue,
        priority=spec.priority,
        title=spec.title,
        front=True,
    )
