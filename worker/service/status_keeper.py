"""The worker's status in Redis, written anew while it lives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from farm.errors import StoreUnavailable
from farm.status.worker import WorkerStatus
from farm.store.roles import StatusStore

log = logging.getLogger(__name__)

REFRESH_S: Final = 5.0
TTL_S: Final = 15.0


class StatusKeeper:
    """Publishes the status every few seconds, and at once when told that something changed."""

    def __init__(
        self,
        store: StatusStore,
        name: str,
        read: Callable[[], WorkerStatus],
        *,
        changed: threading.Event,
    ) -> None:
        """Prepare.

        Args:
            read: makes the status, as it is now.
            changed: to be set when the job, the phase or the health is another one.
        """
        self._store = store
        self._name = name
        self._read = read
        self._changed = changed
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Publish, and go on doing so."""
        self._thread.start()

    def stop(self) -> None:
        """Take the status back: the worker ends in good order."""
        self._closing = True
        self._changed.set()
        self._thread.join(timeout=5.0)
        try:
            self._store.drop_worker(self._name)
        except StoreUnavailable:
            log.info("The status is left to expire", extra={"event": "status_left", "worker": self._name})

    def _run(self) -> None:
        while not self._closing:
            try:
                self._store.put_worker(self._read(), ttl_s=TTL_S)
            except StoreUnavailable as exc:
                log.debug(
                    "The status could not be written",
                    extra={"event": "status_not_written", "reason": str(exc)},
                )
            except Exception:
                log.exception("Making the status failed", extra={"event": "status_failed"})
            self._changed.wait(timeout=REFRESH_S)
            self._changed.clear()
