"""Keeps a worker whose machine fails out of service until a probe finds that it works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from farm.errors import StoreUnavailable
from farm.job import JobError, JobState
from farm.status.not_fetching import NotFetching
from farm.status.worker import JudgedStatus
from farm.store.base import JobBrief
from worker.fetching.gate import Gate
from worker.jobs.faults import DISK_FULL
from worker.service.quarantine import Quarantine
from worker.service.suspicion import CODE, IN_A_ROW, Suspicion

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
_ASK_EVERY_S: Final = 1.0  # what became of a job that failed here


class Health:
    """Closes the gate while the machine fails, and opens it when it works again, by itself."""

    def __init__(
        self,
        gate: Gate,
        probe: Callable[[], str | None],
        *,
        first_probe_s: float,
        card_trouble: Callable[[], str | None],
        disk_is_full: Callable[[], bool],
        briefs: Callable[[Sequence[str]], Mapping[str, JobBrief]],
        judged_elsewhere: Callable[[], Sequence[JudgedStatus]],
        on_change: Callable[[], None],
    ) -> None:
        """Prepare; `start` runs it.

        Args:
            probe: has ComfyUI show that it can be used; why not, None when it has.
            first_probe_s: seconds until the first look whether it works again.
            card_trouble: why the card cannot be used now; None while it can.
            disk_is_full: asks the disk; while it is, that alone keeps the gate closed; no machine failure.
            briefs: where jobs are now, of those that there still are.
            judged_elsewhere: what the other workers say of their last jobs.
            on_change: called when the worker goes out of service, or comes back.
        """
        self.quarantine = Quarantine(first_probe_s=first_probe_s)
        self.suspicion = Suspicion()
        self._briefs = briefs
        self._judged_elsewhere = judged_elsewhere
        self._gate = gate
        self._ask = probe
        self._card_trouble = card_trouble
        self._disk_is_full = disk_is_full
        self._on_change = on_change
        self._every_s = min(LOOK_EVERY_S, first_probe_s / 2)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a probe that is under way ends with ComfyUI."""
        self._stopping.set()
        self._thread.join(timeout=self._every_s)

    def doubted(self, job_id: str, error: JobError) -> None:
        """A job failed here as it may fail nowhere else, and is tried on another worker."""
        self.suspicion.failed(job_id, error.message)
        self._suspect(())

    def failed(self, job_id: str, error: JobError) -> None:
        """An attempt at a job failed here."""
        if error.code == DISK_FULL and self._disk_is_full():
            return
        if self.quarantine.failed(job_id, error):
            self._close()

    def succeeded(self, job_id: str) -> None:
        """A job went well here."""
        self.suspicion.succeeded(job_id)
        self.quarantine.succeeded()

    def _run(self) -> None:
        while not self._stopping.wait(_ASK_EVERY_S if self.suspicion.open_jobs else self._every_s):
            try:
                self._look()
            except Exception:
                log.exception("Looking at the machine's health failed", extra={"event": "health_look_failed"})

    def _look(self) -> None:
        self._hear_of_others()
        if self.quarantine.probe_due:
            self._probe(self._card_trouble())

    def _hear_of_others(self) -> None:
        """What became of the jobs that failed here, and whether that tells of this worker."""
        try:
            open_jobs = self.suspicion.open_jobs
            found = self._briefs(open_jobs) if open_jobs else {}
            for job_id in open_jobs:
                if (job := found.get(job_id)) is None or job.state.final:
                    went_well = job is not None and job.state is JobState.SUCCEEDED
                    self.suspicion.judged(job_id, went_well=went_well)
            others = self._judged_elsewhere() if self.suspicion.reason(()) is not None else ()
        except StoreUnavailable:
            return
        is_charged = self.suspicion.reason((), in_a_row=1) is not None
        if not is_charged and self.quarantine.acquit(CODE):
            log.warning("Back in service: the jobs failed elsewhere too", extra={"event": "acquitted"})
            self._gate.open(NotFetching.QUARANTINE)
            self._on_change()
        elif is_charged:
            self._suspect(others)

    def _suspect(self, others: Sequence[JudgedStatus]) -> None:
        in_a_row = 1 if self.quarantine.on_probation else IN_A_ROW
        reason = self.suspicion.reason(others, in_a_row=in_a_row)
        if reason is not None and self.quarantine.accuse(CODE, reason):
            self._close()

    def _probe(self, trouble: str | None) -> None:
        """Its card readable, and ComfyUI in order: then it may try a job again."""
        if trouble is None:
            trouble = self._ask()
        if self._stopping.is_set():
            return
        self.quarantine.probed(trouble)
        if trouble is None:
            self.suspicion.clear()
            log.warning("Back in service, on probation", extra={"event": "quarantine_over"})
            self._gate.open(NotFetching.QUARANTINE)
        else:
            log.warning("Still out of service", extra={"event": "probe_failed", "reason": trouble})
        self._on_change()

    def _close(self) -> None:
        failure = self.quarantine.failure
        self._gate.close(NotFetching.QUARANTINE)
        log.error(
            "Out of service: jobs fail here for the machine's reasons, or as they fail nowhere else",
            extra={
                "event": "quarantined",
                "code": failure.code if failure else None,
                "reason": failure.reason if failure else None,
            },
        )
        self._on_change()
