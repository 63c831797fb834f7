"""The jobs that this worker is at: how far each is, how long it will still take, and how they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from farm.job import Progress
from worker.jobs.pace import Pace


class Work:
    """One message's work on a job: how far it is."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.progress: Progress | None = None  # None: nothing of it has begun
        self.pace = Pace()

    def note(self, progress: Progress) -> bool:
        """It is so far; whether this is another phase of it."""
        before, self.progress = self.progress, progress
        self.pace.note(progress)
        return before is None or before.phase != progress.phase


class AtWork:
    """Knows the work in hand; may be asked from any thread.

    By message, not by job: a second message for a job, or an older attempt that ends late, takes nothing of
    the one that runs with it.
    """

    def __init__(self) -> None:
        self._works: list[Work] = []  # in the order they began
        self._ended: Counter[str] = Counter()

    @contextmanager
    def on(self, job_id: str) -> Iterator[Work]:
        """Work on a job, while the block runs."""
        work = Work(job_id)
        self._works.append(work)
        try:
            yield work
        finally:
            self._works.remove(work)

    def ended(self, outcome: str) -> None:
        """Count an attempt by what became of it, as `worker.jobs.attempt.attempt` says."""
        if not outcome.startswith("dropped"):  # a message, not an attempt
            self._ended[outcome] += 1

    def outcomes(self) -> dict[str, int]:
        """How many attempts ended here, and how, since the worker was started."""
        return dict(self._ended)

    def jobs(self) -> dict[str, Progress]:
        """Each job's latest progress, by its id."""
        return {work.job_id: work.progress for work in tuple(self._works) if work.progress is not None}

    def left_s(self, job_id: str) -> float | None:
        """Seconds until the job's result is committed; None when nothing can be said yet."""
        begun = [work for work in tuple(self._works) if work.job_id == job_id and work.progress is not None]
        return begun[-1].pace.left_s() if begun else None
