"""Publishes what waits for the storage as soon as that takes files again, without notification and GPU."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from farm.errors import FarmError, StorageUnavailable, StoreUnavailable
from farm.job import JobState
from farm.store.roles import WorkerStore
from worker.results.retained import RetainedRender, RetainedRenders
from worker.results.storage_watch import StorageWatch

log = logging.getLogger(__name__)

HOLD_S: Final = 60.0  # for which a job is held at a time: if this worker dies, others may have it then
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_STOP_PATIENCE_S: Final = 2.0
_OF_NO_USE: Final = (JobState.SUCCEEDED, JobState.CANCELED, JobState.EXPIRED)


class Republisher:
    """Holds the jobs whose files wait here, asks the storage again and again, and then publishes them."""

    def __init__(
        self,
        name: str,
        retained: RetainedRenders,
        store: WorkerStore,
        storage: StorageWatch,
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
        self._storage = storage
        self._ask_storage = ask_storage
        self._publish = publish
        self._hold_limit_s = hold_limit_s
        self._every_s = every_s
        self._held_until: dict[str, float] = {}  # job id -> time.monotonic()
        self._pause_s = _FIRST_PAUSE_S
        self._ask_again_at = 0.0
        self._mine: list[RetainedRender] = []  # that this worker may publish
        self._stopping = threading.Event()
        # Two, so that no hold lapses while a silent storage is waited for.
        self._threads = [
            threading.Thread(target=self._repeat, args=(step,), name=f"republisher-{name}", daemon=True)
            for name, step in (("hold", self.hold), ("publish", self.publish))
        ]

    def start(self) -> None:
        """Look from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no more; one that is being published is waited for a moment."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=_STOP_PATIENCE_S)

    def hold(self) -> None:
        """Hold what waits, and fetch nothing more if it is too much.

        Raises:
            StoreUnavailable: Redis is away; nothing is decided without it.
        """
        waiting = self._retained.all()
        now_s = self._store.clock().timestamp() if waiting else 0.0
        self._mine = [retained for retained in waiting if self._hold(retained, now_s - retained.retained_at)]
        self._storage.look()

    def publish(self) -> None:
        """Publish what is held, if the storage takes it.

        Raises:
            StoreUnavailable: Redis is away.
        """
        mine = self._mine
        if not (mine or self._storage.is_in_trouble) or time.monotonic() < self._ask_again_at:
            return
        try:
            self._ask_storage()
        except StorageUnavailable as exc:
            self._storage.note(exc)
            log.info("The storage is still away", extra={"event": "storage_still_away", "reason": str(exc)})
            self._wait_longer()
            return
        self._storage.note(None)
        for retained in mine:
            if self._stopping.is_set():
                return
            self._publish(retained.job_id)
            if self._retained.find(retained.job_id) is not None:
                self._wait_longer()  # small files pass and this one does not
                return
        self._pause_s = _FIRST_PAUSE_S

    def _hold(self, retained: RetainedRender, age_s: float) -> bool:
        """Whether this worker may claim the job; files that nobody needs any more are removed."""
        now = time.monotonic()
        over = age_s >= self._hold_limit_s
        # Others can do it now, and what refuses this worker does not pass by itself.
        over = over or (self._storage.is_refused and self._storage.is_mine_alone)
        if not over and now < self._held_until.get(retained.job_id, 0.0):
            return True
        held = self._store.keep_on_hold(retained.job_id, self._name, hold_s=0.0 if over else HOLD_S)
        if held and not over:
            self._held_until[retained.job_id] = now + HOLD_S / 3
            return True
        self._held_until.pop(retained.job_id, None)
        state = self._state_of(retained)
        # An attempt that runs may be publishing these very files.
        if state in _OF_NO_USE or (state is not JobState.RUNNING and age_s >= 2 * self._hold_limit_s):
            self._retained.forget(retained.token)
            return False
        # Whoever comes first may have it, and nobody needs less time than this worker.
        return state is JobState.QUEUED

    def _state_of(self, retained: RetainedRender) -> JobState:
        """One that failed may be retried by a person, and one that runs elsewhere may fail."""
        try:
            return self._store.get(retained.job_id).state
        except StoreUnavailable:
            raise
        except FarmError:
            return JobState.EXPIRED  # there is no such job any more

    def _wait_longer(self) -> None:
        self._ask_again_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _repeat(self, step: Callable[[], None]) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                step()
            except StoreUnavailable as exc:
                log.debug("Redis is away", extra={"event": "republish_waits", "reason": str(exc)})
            except Exception:
                log.exception("Publishing again failed", extra={"event": "republish_failed"})
