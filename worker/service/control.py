"""Hears of cancels and drains the moment they are ordered, instead of at the next look."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from farm.errors import StoreUnavailable
from farm.store.roles import WorkerStore

log = logging.getLogger(__name__)

_POLL_S: Final = 0.25  # how soon the thread sees that it is to end
_AGAIN_AFTER_S: Final = 1.0


class ControlListener:
    """A thread on the store's control channel. What it misses, renewals and the next status still see."""

    def __init__(
        self, store: WorkerStore, *, on_cancel: Callable[[], None], on_drain: Callable[[], None]
    ) -> None:
        """Prepare; both are called in the thread: some job was canceled, some worker was given an order."""
        self._store = store
        self._on_cancel = on_cancel
        self._on_drain = on_drain
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the store may be closed then."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except StoreUnavailable:
                self._stopping.wait(_AGAIN_AFTER_S)
            except Exception:
                log.exception("Listening for cancels failed", extra={"event": "cancel_feed_failed"})
                self._stopping.wait(_AGAIN_AFTER_S)

    def _listen(self) -> None:
        feed = self._store.listen_control()
        try:
            while not self._stopping.is_set():
                heard = feed.next(_POLL_S)
                if heard:
                    self._on_cancel()
                elif heard is not None:
                    self._on_drain()
        finally:
            feed.close()
