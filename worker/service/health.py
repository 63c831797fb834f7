"""Keeps a worker whose machine fails out of service until a probe finds that it works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from farm.job import JobError
from farm.status.not_fetching import NotFetching
from worker.gate import Gate
from worker.jobs.faults import DISK_FULL
from worker.service.quarantine import Quarantine

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0


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
        on_change: Callable[[], None],
    ) -> None:
        """Prepare; `start` runs it.

        Args:
            probe: has ComfyUI show that it can be used; why not, None when it has.
            first_probe_s: seconds until the first look whether it works again.
            card_trouble: why the card cannot be used now; None while it can.
            disk_is_full: asks the disk; while it is, that alone keeps the gate closed; no machine failure.
            on_change: called when the worker goes out of service, or comes back.
        """
        self.quarantine = Quarantine(first_probe_s=first_probe_s)
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

    def failed(self, job_id: str, error: JobError) -> None:
        """An attempt at a job failed here."""
        if error.code == DISK_FULL and self._disk_is_full():
            return
        if self.quarantine.failed(job_id, error):
            self._close()

    def succeeded(self) -> None:
        """An attempt went well here."""
        self.quarantine.succeeded()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self._look()
            except Exception:
                log.exception("Looking at the machine's health failed", extra={"event": "health_look_failed"})

    def _look(self) -> None:
        if self.quarantine.probe_due:
            self._probe(self._card_trouble())

    def _probe(self, trouble: str | None) -> None:
        """Its card readable, and ComfyUI in order: then it may try a job again."""
        if trouble is None:
            trouble = self._ask()
        if self._stopping.is_set():
            return
        self.quarantine.probed(trouble)
        if trouble is None:
            log.warning("Back in service, on probation", extra={"event": "quarantine_over"})
            self._gate.open(NotFetching.QUARANTINE)
        else:
            log.warning("Still out of service", extra={"event": "probe_failed", "reason": trouble})
        self._on_change()

    def _close(self) -> None:
        failure = self.quarantine.failure
        self._gate.close(NotFetching.QUARANTINE)
        log.error(
            "Out of service: jobs fail here for the machine's reasons",
            extra={
                "event": "quarantined",
                "code": failure.code if failure else None,
                "reason": failure.reason if failure else None,
            },
        )
        self._on_change()
