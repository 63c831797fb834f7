"""The jobs that this worker is at: how far each is, and how long it will still take."""

from __future__ import annotations

from farm.job import Progress
from worker.pace import Pace


class AtWork:
    """Takes the progress of each job as it comes; may be asked from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Progress] = {}
        self._paces: dict[str, Pace] = {}

    def note(self, job_id: str, progress: Progress) -> bool:
        """A job is so far; whether this is another phase of it."""
        before = self._jobs.get(job_id)
        self._jobs[job_id] = progress
        self._paces.setdefault(job_id, Pace()).note(progress)
        return before is None or before.phase != progress.phase

    def forget(self, job_id: str) -> None:
        """The job has ended here."""
        self._jobs.pop(job_id, None)
        self._paces.pop(job_id, None)

    def jobs(self) -> dict[str, Progress]:
        """Each job's latest progress, by its id."""
        return dict(self._jobs)

    def left_s(self, job_id: str) -> float | None:
        """Seconds until the job's result is committed; None when nothing can be said yet."""
        pace = self._paces.get(job_id)
        return pace.left_s() if pace is not None else None
