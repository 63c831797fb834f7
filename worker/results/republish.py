"""Publishes what waits for the storage as soon as that takes files again, without notification and GPU."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from farm.errors import FarmError, JobNotFound, StorageUnavailable, StoreUnavailable
from farm.job import JobState
from farm.status.not_fetching import NotFetching
from farm.store.roles import WorkerStore
from worker.gate import Gate
from worker.results.retained import RetainedRender, RetainedRenders

log = logging.getLogger(__name__)

HOLD_S: Final = 60.0  # for which a job is held at a time: if this worker dies, others may have it then
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_OF_NO_USE: Final = (JobState.SUCCEEDED, JobState.CANCELED, JobState.EXPIRED)


class Republisher:
    """Holds the jobs whose files wait here, asks the storage again and again, and then publishes them."""

    def __init__(
        self,
        name: str,
        retained: RetainedRenders,
        store: WorkerStore,
        gate: Gate,
        *,
        ask_storage: Callable[[], None],
        publish: Callable[[str], object],
        hold_limit_s: float,
        every_s: float = 1.0,
    ) -> None:
        """Prepare; `start` runs it.

        Args:
            name: of this worker.
            store: with a connection of its own.
            ask_storage: raises `StorageUnavailable` while it takes no files.
            publish: claims a job and publishes its retained files; returns when that attempt has ended.
            hold_limit_s: how long a job is kept from other workers, all in all.
        """
        self._name = name
        self._retained = retained
        self._store = store
        self._gate = gate
        self._ask_storage = ask_storage
        self._publish = publish
        self._hold_limit_s = hold_limit_s
        self._every_s = every_s
        self._held_until: dict[str, float] = {}  # job id -> time.monotonic()
        self._pause_s = _FIRST_PAUSE_S
        self._ask_again_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="republisher", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; one that is being published is waited for a moment."""
        self._stopping.set()
        self._thread.join(timeout=10.0)

    def look(self) -> None:
        """Hold what waits, and publish it if the storage takes it.

        Raises:
            StoreUnavailable: Redis is away; nothing is decided without it.
        """
        mine = [retained for retained in self._retained.all() if self._hold(retained)]
        self._tell_gate()
        if not mine or time.monotonic() < self._ask_again_at:
            return
        try:
            self._ask_storage()
        except StorageUnavailable as exc:
            log.info("The storage is still away", extra={"event": "storage_still_away", "reason": str(exc)})
            self._wait_longer()
            return
        for retained in mine:
            if self._stopping.is_set():
                return
            self._publish(retained.job_id)
            if self._retained.find(retained.job_id) is not None:
                self._wait_longer()  # small files pass and this one does not
                return
        self._pause_s = _FIRST_PAUSE_S
        self._tell_gate()

    def _hold(self, retained: RetainedRender) -> bool:
        """Whether this worker may claim the job; files that nobody needs any more are removed."""
        now = time.monotonic()
        if now < self._held_until.get(retained.job_id, 0.0):
            return True
        over = time.time() - retained.retained_at >= self._hold_limit_s
        held = self._store.keep_on_hold(retained.job_id, self._name, hold_s=0.0 if over else HOLD_S)
        if held and not over:
            self._held_until[retained.job_id] = now + HOLD_S / 3
            return True
        self._held_until.pop(retained.job_id, None)
        if self._is_of_no_use(retained):
            self._retained.forget(retained.token)
        return False

    def _is_of_no_use(self, retained: RetainedRender) -> bool:
        """A job that failed may be retried by a person, and one that runs elsewhere may fail."""
        try:
            state = self._store.get(retained.job_id).state
        except StoreUnavailable:
            raise
        except (JobNotFound, FarmError):
            return True
        return state in _OF_NO_USE or time.time() - retained.retained_at >= 2 * self._hold_limit_s

    def _tell_gate(self) -> None:
        if self._retained.full:
            if NotFetching.STORAGE_AWAY not in self._gate.closed_for:
                log.error(
                    "Too many finished files wait for the storage; nothing is fetched until it is back",
                    extra={"event": "storage_away", "jobs": len(self._retained.all())},
                )
            self._gate.close(NotFetching.STORAGE_AWAY)
        elif NotFetching.STORAGE_AWAY in self._gate.closed_for:
            self._gate.open(NotFetching.STORAGE_AWAY)

    def _wait_longer(self) -> None:
        self._ask_again_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
            except StoreUnavailable as exc:
                log.debug("Redis is away", extra={"event": "republish_waits", "reason": str(exc)})
            except Exception:
                log.exception("Publishing again failed", extra={"event": "republish_failed"})
