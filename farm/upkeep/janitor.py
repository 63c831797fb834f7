"""The loop that keeps the storage clean: a pass now and then, in one process of the farm at a time."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from typing import Final

from farm.errors import StorageUnavailable, StoreUnavailable
from farm.store.roles import Locks
from farm.upkeep.cleaning import Cleaner

log = logging.getLogger(__name__)

_LOCK: Final = "janitor"
_FIRST_AFTER_S: Final = 300.0  # a worker that was just started has better things to do
_LOOK_EVERY_S: Final = 60.0


class Janitor:
    """Cleans every `every_s` while it holds the farm's janitor lock, which is as long as that.

    Every worker runs one. Should the one that cleans die, another takes over when its lock has ended.
    """

    def __init__(
        self,
        store: Locks,
        cleaner: Cleaner,
        *,
        holder: str,
        every_s: float,
        first_after_s: float = _FIRST_AFTER_S,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """`holder` is who this is, unique in the farm; `every_s` 0 never cleans."""
        self._store = store
        self._cleaner = cleaner
        self._holder = holder
        self._every_s = every_s
        self._look_every_s = look_every_s
        self._due = time.monotonic() + first_after_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def start(self) -> None:
        """Clean from now on."""
        if self._every_s:
            self._thread.start()

    def stop(self) -> None:
        """Clean no more; a pass that is under way is left to end with the process."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._look_every_s):
            if time.monotonic() < self._due:
                continue
            try:
                self._turn()
            except (StoreUnavailable, StorageUnavailable) as exc:
                log.info("Cleaning is put off", extra={"event": "clean_later", "reason": str(exc)})
            except Exception:
                log.exception("Cleaning failed", extra={"event": "cleaning_failed"})
                self._due = time.monotonic() + self._every_s

    def _turn(self) -> None:
        if not self._store.acquire(_LOCK, self._holder, ttl_s=self._every_s):
            return
        self._due = time.monotonic() + self._every_s
        cleaned = self._cleaner.clean()
        log.info("Storage cleaned", extra={"event": "storage_cleaned", **asdict(cleaned)})
