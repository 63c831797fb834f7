"""The jobs that this worker is at: how far each is, how long it will still take, and how they end."""

from __future__ import annotations

from collections import Counter

from farm.job import Progress
from worker.jobs.pace import Pace


class AtWork:
    """Takes the progress of each job as it comes; may be asked from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Progress] = {}
        self._paces: dict[str, Pace] = {}
        self._ended: Counter[str] = Counter()

    def note(self, job_id: str, progress: Progress) -> bool:
        """A job is so far; whether this is another phase of it."""
        before = self._jobs.get(job_id)
        self._jobs[job_id] = progress
        self._paces.setdefault(job_id, Pace()).note(progress)
        return before is None or before.phase != progress.phase

    def forget(self, job_id: str) -> None:
        """The job has left this worker."""
        self._jobs.pop(job_id, None)
        self._paces.pop(job_id, None)

    def ended(self, outcome: str) -> None:
        """Count an attempt by what became of it, as `worker.jobs.attempt.attempt` says."""
        if not outcome.startswith("dropped"):  # a message, not an attempt
            self._ended[outcome] += 1

    def outcomes(self) -> dict[str, int]:
        """How many attempts ended here, and how, since the worker was started."""
        return dict(self._ended)

    def jobs(self) -> dict[str, Progress]:
        """Each job's latest progress, by its id."""
        return dict(self._jobs)

    def left_s(self, job_id: str) -> float | None:
        """Seconds until the job's result is committed; None when nothing can be said yet."""
        pace = self._paces.get(job_id)
        return pace.left_s() if pace is not None else None
