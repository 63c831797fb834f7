"""When a worker takes itself out of service, and when it is looked at again. Decides, does nothing.

A worker on which jobs fail for the machine's reasons would drain the queue by failing everything quickly.
After such failures of two jobs in a row it fetches nothing, is probed after a pause that doubles each time,
and works on probation then: one more failure, and it is out again, until a job has succeeded. A job that
fails here once more says nothing new: it may be the job.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from farm.job import ErrorKind, JobError
from worker.jobs.faults import GPU_LOST, WRONG_BUILD

FAILURES_ALLOWED: Final = 2
LONGEST_PROBE_S: Final = 300.0
_JOBS_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFailure:
    """Why a worker is out of service."""

    code: str  # of the last failure
    reason: str  # for a person, in one line
    probe_at: float  # time.monotonic()
    probes: int = 0  # that found it still failing, or after which it failed again


class Quarantine:
    """What the worker's own failures say of its machine. Thread-safe."""

    def __init__(self, *, first_probe_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_probe_s = first_probe_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._failed_here: dict[str, None] = {}  # jobs, since the last success; the oldest first
        self._probes = 0
        self._failure: MachineFailure | None = None

    @property
    def failure(self) -> MachineFailure | None:
        """Why it is out of service; None while it serves."""
        return self._failure

    @property
    def probe_due(self) -> bool:
        """Whether it is time to look again."""
        failure = self._failure
        return failure is not None and self._clock() >= failure.probe_at

    def failed(self, job_id: str, error: JobError) -> bool:
        """Count how an attempt failed; whether the worker goes out of service with this.

        A lost card counts at once: the machine has said so itself, and no restart of ComfyUI mends it.
        """
        if error.kind is not ErrorKind.MACHINE and error.code != WRONG_BUILD:
            return False
        with self._lock:
            if error.code != GPU_LOST and job_id in self._failed_here:
                return False
            self._remember(job_id)
            self._in_a_row += 1
            allowed = 1 if self._probes or error.code == GPU_LOST else FAILURES_ALLOWED
            if self._failure is not None or self._in_a_row < allowed:
                return False
            self._go_out(error.code, error.message)
            return True

    def accuse(self, code: str, reason: str) -> bool:
        """Put the worker out of service for what others have found; whether it served until now."""
        with self._lock:
            if self._failure is not None:
                return False
            self._go_out(code, reason)
            return True

    def acquit(self, code: str) -> bool:
        """That reason is void, without a probe; whether it kept the worker out of service."""
        with self._lock:
            if self._failure is None or self._failure.code != code:
                return False
            self._failure = None
            return True

    @property
    def on_probation(self) -> bool:
        """Whether it has done no job well since a probe."""
        return self._probes > 0

    def _remember(self, job_id: str) -> None:
        self._failed_here[job_id] = None
        if len(self._failed_here) > _JOBS_REMEMBERED:
            del self._failed_here[next(iter(self._failed_here))]

    def succeeded(self) -> None:
        """A job went well: earlier failures say nothing any more."""
        with self._lock:
            if self._failure is None:
                self._in_a_row = self._probes = 0
                self._failed_here.clear()

    def probed(self, trouble: str | None) -> None:
        """Take what a probe found; None: it is well, and serves on probation."""
        with self._lock:
            if self._failure is None:
                return
            self._probes += 1
            if trouble is None:
                self._failure, self._in_a_row = None, 0
            else:
                self._go_out(self._failure.code, trouble)

    def _go_out(self, code: str, reason: str) -> None:
        pause_s = min(self._first_probe_s * 2.0 ** min(self._probes, 16), LONGEST_PROBE_S)
        line = (reason.splitlines() or [code])[0]
        self._failure = MachineFailure(
            code=code, reason=line, probe_at=self._clock() + pause_s, probes=self._probes
        )
