"""The part of the store in memory that reads: records, listings, counts, events, messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from farm.job import JobEvent, JobRecord, JobState
from farm.store.base import Counts, IdPage, JobBrief, Page, Queued
from farm.store.redis.safety import Durability
from farm.store.tally import Tally, read_tally
from farm.testing.memory.state import MemoryCancelFeed, MemoryState, PriorityQueue


class MemoryReading(MemoryState):
    """Reads; only `pop_notification` changes anything."""

    def pop_notification(self, queue: str, priority: int | None = None) -> str | None:
        """Take the next message of a queue, as a worker does; None when there is none."""
        with self._lock:
            filled = sorted(each for each, ids in self._notifications.items() if each[1] == queue and ids)
            wanted = [each for each in filled if priority in (None, each[0])]
            return self._notifications[wanted[0]].pop() if wanted else None

    def notifications(self, queue: str) -> list[str]:
        """The job ids of a queue's messages, next one first."""
        with self._lock:
            mine = sorted(each for each in self._notifications if each[1] == queue)
            return [job_id for each in mine for job_id in reversed(self._notifications[each])]

    def get(self, job_id: str) -> JobRecord:
        with self._lock:
            return self._kept(job_id).record

    def get_many(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        with self._lock:
            return {each: self._jobs[each].record for each in job_ids if each in self._jobs}

    def find(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
        hints: Sequence[str] = (),  # noqa: ARG002 - reading a record costs nothing here
    ) -> Page:
        ids = self.find_ids(state=state, label=label, since=since, until=until, limit=limit, cursor=cursor)
        with self._lock:
            jobs = tuple(self._jobs[job_id].record for job_id in ids.ids)
        return Page(jobs=jobs, next_cursor=ids.next_cursor)

    def find_ids(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 5000,
        cursor: str | None = None,
    ) -> IdPage:
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
        return IdPage(ids=tuple(kept.record.job_id for kept in found[:limit]), next_cursor=more)

    def briefs(self, job_ids: Sequence[str]) -> dict[str, JobBrief]:
        with self._lock:
            records = [self._jobs[job_id].record for job_id in job_ids if job_id in self._jobs]
        return {
            job.job_id: JobBrief(
                job_id=job.job_id,
                state=job.state,
                priority=job.spec.priority,
                submitted_at=job.submitted_at,
                held=job.parked is not None or job.paused_at is not None,
            )
            for job in records
        }

    def find_results(self, contents: Sequence[str]) -> dict[str, JobRecord]:
        with self._lock:
            return {c: self._jobs[self._contents[c]].record for c in contents if c in self._contents}

    def counts(self) -> Counts:
        with self._lock:
            by_state = {state: len(self._in(state)) for state in JobState}
            now = self._now()
            ends = [kept.record.lease_until for kept in self._in(JobState.RUNNING)]
            priority_queues: dict[PriorityQueue, list[float]] = {}
            for kept in self._in(JobState.QUEUED):
                if kept.waits:
                    waited_s = (now - kept.record.submitted_at).total_seconds()
                    priority_queues.setdefault(kept.priority_queue, []).append(max(waited_s, 0.0))
        waiting = [
            Queued(queue=queue, priority=priority, waiting=len(waits), oldest_s=max(waits))
            for (priority, queue), waits in sorted(priority_queues.items())
        ]
        return Counts(
            by_state=by_state,
            waiting=tuple(waiting),
            parked=len(self.parked(limit=sys.maxsize)),
            leases_overdue=sum(end is not None and end <= now for end in ends),
        )

    def queue_positions(self, job_ids: Sequence[str]) -> dict[str, int]:
        with self._lock:
            waiting = sorted(
                (kept.record.queue, kept.record.spec.priority, kept.order, job_id)
                for job_id, kept in self._jobs.items()
                if kept.waits
            )
        queues = groupby(waiting, key=itemgetter(0))
        places = {job_id: at for _, mine in queues for at, (*_, job_id) in enumerate(mine)}
        return {job_id: places[job_id] for job_id in job_ids if job_id in places}

    def recent_events(self, job_id: str, *, limit: int = 20) -> list[JobEvent]:
        with self._lock:
            kept = self._jobs.get(job_id)
            return [] if kept is None or not kept.record.attempt else kept.events[-limit:]

    def tally(self) -> Tally:
        return read_tally(self._tally)

    def parked(self, *, after: datetime | None = None, limit: int = 100) -> list[JobRecord]:
        with self._lock:
            waiting = sorted(self._in(JobState.QUEUED), key=lambda kept: kept.order)
            records = [kept.record for kept in waiting if kept.record.parked is not None]
        return [record for record in records if after is None or record.submitted_at > after][:limit]

    def events(
        self, job_id: str, *, after: str = "0", limit: int = 100, block_s: float = 0.0
    ) -> list[JobEvent]:
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

    def clock(self) -> datetime:
        return self._now()

    def listen_control(self) -> MemoryCancelFeed:
        feed = MemoryCancelFeed(self._feeds)
        self._feeds.append(feed)
        return feed

    def id_of_key(self, idempotency_key: str) -> str | None:
        with self._lock:
            return self._keys.get(idempotency_key)

    def ids_beginning(self, text: str, *, limit: int) -> list[str]:
        with self._lock:
            return [job_id for job_id in self._jobs if job_id.startswith(text)][:limit]

    def ping(self) -> dict[str, Any]:
        return {
            "server": "memory",
            "now": self._now(),
            "epoch": self._epoch,
            "forgot_at": self._forgot_at,
            "append_only": False,
            "durability": Durability.NONE,
        }

    def epoch(self, *, known: str = "") -> str:
        with self._lock:
            if known not in ("", self._epoch) and self._forgot_at is None:
                self._forgot_at = self._now()
            return self._epoch

    def close(self) -> None:
        """Nothing to give back."""
