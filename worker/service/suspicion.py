"""Whether jobs fail at this worker that others do, by what became of them. Decides, does nothing.

A failure that a broken install could have brought about is tried on another worker before it is final
(`JobStore.fail`). A worker that has only such failures fetches nothing until it is known whose fault they
are: three in a row are enough, since otherwise it would run through the queue while the others work. One that
does some jobs and fails others is found out by its share of jobs that went well elsewhere, against theirs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from farm.status.worker import JudgedStatus

CODE: Final = "fails_here"
IN_A_ROW: Final = 3
_REMEMBERED: Final = 20
_TIMES_OTHERS: Final = 3  # so much larger than theirs is a share that stands out


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a job ended here."""

    job_id: str
    failed: bool = False
    is_proven: bool = False  # another worker has done it since
    why: str = ""


class Suspicion:
    """The last jobs of one worker. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: deque[_End] = deque(maxlen=_REMEMBERED)

    def failed(self, job_id: str, why: str) -> None:
        """A job failed here and is tried on another worker."""
        with self._lock:
            self._ends.append(_End(job_id=job_id, failed=True, why=why))

    def succeeded(self, job_id: str) -> None:
        """A job went well here."""
        with self._lock:
            self._ends.append(_End(job_id=job_id))

    def judged(self, job_id: str, *, went_well: bool) -> None:
        """What became of a job that failed here: another worker did it, or it was the job's own fault."""
        with self._lock:
            ends = [
                replace(end, is_proven=True) if end.failed and end.job_id == job_id else end
                for end in self._ends
                if went_well or not end.failed or end.job_id != job_id
            ]
            self._ends = deque(ends, maxlen=_REMEMBERED)

    def clear(self) -> None:
        """What is charged has had its consequence."""
        with self._lock:
            self._ends.clear()

    @property
    def open_jobs(self) -> list[str]:
        """Jobs that failed here, of which nobody knows yet whose fault it was."""
        with self._lock:
            return [end.job_id for end in self._ends if end.failed and not end.is_proven]

    def status(self) -> JudgedStatus:
        """For the worker's status, against which the others hold their own."""
        with self._lock:
            return JudgedStatus(jobs=len(self._ends), failed_here_only=len(self._proven()))

    def reason(self, others: Sequence[JudgedStatus], *, in_a_row: int = IN_A_ROW) -> str | None:
        """Why this worker stands out, in one line; None while it does not."""
        with self._lock:
            row = self._row()
            proven = self._proven()
            if len(row) >= in_a_row:
                done = sum(end.is_proven for end in row)
                told = f", of which others have done {done}" if done else ""
                return f"the last {len(row)} jobs failed here{told}; the last one: {row[-1].why}"
            if len(proven) >= IN_A_ROW and self._stands_out(len(proven), others):
                return (
                    f"{len(proven)} of the last {len(self._ends)} jobs failed here and went well elsewhere; "
                    f"the last one: {proven[-1].why}"
                )
        return None

    def _row(self) -> list[_End]:
        """The failures since the last job that went well."""
        last_well = max((at for at, end in enumerate(self._ends) if not end.failed), default=-1)
        return list(self._ends)[last_well + 1 :]

    def _proven(self) -> list[_End]:
        return [end for end in self._ends if end.is_proven]

    def _stands_out(self, proven: int, others: Sequence[JudgedStatus]) -> bool:
        jobs = sum(other.jobs for other in others)
        share = sum(other.failed_here_only for other in others) / jobs if jobs else 0.0
        return proven / len(self._ends) > _TIMES_OTHERS * share
