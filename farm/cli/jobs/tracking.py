"""What becomes of many jobs, looked at again and again at a cost that hardly grows with how many they are."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from farm.errors import JobNotFound
from farm.job import JobRecord, JobState
from farm.store.base import JobBrief
from farm.store.roles import JobReader

RUNNING_SHOWN: Final = 12  # looked at closely; a fleet may run hundreds
NEXT_SHOWN: Final = 5
HELD_SHOWN: Final = 3
_SHARE: Final = 10  # all are looked at again after ten times the seconds that it took the last time
_WINDOW_S: Final = 600.0  # over which jobs per minute are counted
_ENOUGH: Final = 3  # jobs that ended: from then on the rate is what was counted
_LEAST_FRACTION: Final = 0.02  # done of a job, before that says anything of the whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The jobs that are watched, at one moment."""

    running: Sequence[JobRecord] = ()  # oldest claim first; of many only some
    following: Sequence[JobRecord] = ()  # the first that wait, next one first
    held: Sequence[JobRecord] = ()  # parked or paused: the first of them
    counts: Mapping[JobState, int]
    held_count: int = 0  # of the queued
    ended: Sequence[JobBrief] = ()  # since the look before
    rate_per_s: float | None = None  # jobs that end; None: nothing can be said yet
    eta_s: float | None = None  # until all have ended but those that are held

    @property
    def total(self) -> int:
        """All that are watched."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Those that have ended."""
        return sum(count for state, count in self.counts.items() if state.final)

    @property
    def goes_on(self) -> bool:
        """Whether there is anything left to wait for."""
        return self.total - self.done > self.held_count


class Tracker:
    """Knows the state of every job that is watched. For one thread."""

    def __init__(
        self, store: JobReader, job_ids: Iterable[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Look at all of them once.

        Raises:
            JobNotFound: there is no job of an id.
        """
        self._store = store
        self._clock = clock
        self._began_s = clock()
        ids = tuple(dict.fromkeys(job_ids))
        found = store.briefs(ids)
        self.ids: Final = ids
        for job_id in ids:
            if job_id not in found:
                store.get(job_id)  # which tells why it is not there
        self._ended = Counter(each.state for each in found.values() if each.state.final)
        self._open = {each.job_id: each for each in found.values() if not each.state.final}
        self._ends: deque[float] = deque()  # when jobs were seen to have ended
        self._order: list[str] = []  # of those that waited when all were looked at
        self._sort()
        self._all_again_s = self._next_time(self._began_s)

    @property
    def running(self) -> Sequence[str]:
        """The jobs that ran at the last look."""
        return [each.job_id for each in self._open.values() if each.state is JobState.RUNNING]

    def look(self) -> Look:
        """The jobs as they are now.

        Raises:
            StoreUnavailable: Redis does not answer; the next look has what this one missed.
        """
        ended = self._ask_for_all() if self._clock() >= self._all_again_s else self._ask_for_some()
        states = Counter(each.state for each in self._open.values())
        held = [each.job_id for each in self._open.values() if each.held]
        running = [job for job in self._records(self.running, RUNNING_SHOWN) if not job.state.final]
        rate = self._rate(running, states[JobState.RUNNING])
        waiting = states[JobState.QUEUED] - len(held)
        return Look(
            running=sorted(running, key=lambda job: job.claimed_at or job.submitted_at),
            following=self._records(self._waiting(), NEXT_SHOWN),
            held=self._records(held, HELD_SHOWN),
            counts=self._ended + states,
            held_count=len(held),
            ended=ended,
            rate_per_s=rate,
            eta_s=_eta_s(running, states[JobState.RUNNING], waiting, rate),
        )

    def _ask_for_all(self) -> list[JobBrief]:
        began = self._clock()
        ended = self._ask(list(self._open))
        self._sort()
        self._all_again_s = self._next_time(began)
        return ended

    def _next_time(self, began_s: float) -> float:
        now_s = self._clock()
        return now_s + _SHARE * (now_s - began_s)

    def _ask_for_some(self) -> list[JobBrief]:
        """Of those that run or ran a moment ago, and of those that come next: where most of the news is."""
        page = self._store.find_ids(state=JobState.RUNNING)
        some = {*self.running, *(each for each in page.ids if each in self._open)}
        return self._ask([*some, *islice(self._waiting(), NEXT_SHOWN)])

    def _ask(self, job_ids: Sequence[str]) -> list[JobBrief]:
        found = self._store.briefs(job_ids)
        ended = []
        for job_id in job_ids:
            now = found.get(job_id)
            if now is None or now.state.final:  # without a record: removed by somebody meanwhile
                del self._open[job_id]
            else:
                self._open[job_id] = now
            if now is not None and now.state.final:
                self._ended[now.state] += 1
                ended.append(now)
        self._ends.extend([self._clock()] * len(ended))
        return ended

    def _waiting(self) -> Iterable[str]:
        """Those that wait, in the order in which workers take them."""
        waits = (self._open.get(job_id) for job_id in self._order)
        return (
            each.job_id
            for each in waits
            if each is not None and each.state is JobState.QUEUED and not each.held
        )

    def _sort(self) -> None:
        waiting = [each for each in self._open.values() if each.state is JobState.QUEUED]
        self._order = [
            each.job_id for each in sorted(waiting, key=lambda each: (each.priority, each.submitted_at))
        ]

    def _records(self, job_ids: Iterable[str], most: int) -> list[JobRecord]:
        found = []
        for job_id in islice(job_ids, most):
            try:
                found.append(self._store.get(job_id))
            except JobNotFound:  # the next look leaves it out
                continue
        return found

    def _rate(self, running: Sequence[JobRecord], count: int) -> float | None:
        now = self._clock()
        while self._ends and now - self._ends[0] > _WINDOW_S:
            self._ends.popleft()
        if len(self._ends) >= _ENOUGH:
            return len(self._ends) / max(min(now - self._began_s, _WINDOW_S), 1.0)
        # Until then by what those that run say of themselves.
        whole = [each for job in running if (each := _whole_s(job)) is not None]
        return count * len(whole) / sum(whole) if whole else None


def _whole_s(job: JobRecord) -> float | None:
    """How long a job that runs takes from its claim to its end, by what is done of it."""
    if job.progress is None or job.claimed_at is None or job.progress.fraction < _LEAST_FRACTION:
        return None
    took_s = max((datetime.now(UTC) - job.claimed_at).total_seconds(), 0.1)
    return took_s / job.progress.fraction


def _eta_s(running: Sequence[JobRecord], count: int, waiting: int, rate: float | None) -> float | None:
    """Seconds until the last one ends."""
    left = [_left_s(job) for job in running]
    longest = max((each for each in left if each is not None), default=None)
    if rate is None or (not waiting and longest is not None):
        return longest if not waiting else None
    # A job that runs is half done, taken over all of them.
    return max((waiting + count / 2) / rate, longest or 0.0)


def _left_s(job: JobRecord) -> float | None:
    if job.progress is not None and job.progress.eta_s is not None:
        return job.progress.eta_s
    whole = _whole_s(job)
    return None if whole is None or job.progress is None else whole * (1 - job.progress.fraction)
