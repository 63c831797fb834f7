"""Telling the world how a job goes, from a thread of its own: a slow Redis never slows a render."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from farm.errors import StoreUnavailable
from farm.job import EventKind, Progress
from farm.store.base import NewEvent
from farm.store.roles import AttemptStore

log = logging.getLogger(__name__)

_QUEUE_LIMIT: Final = 500  # events that may wait; beyond it the oldest news is not worth keeping
_EVERY_S: Final = 0.5  # progress is told so often, and with each event


class Reporter:
    """Events and progress of one attempt, in order, throttled and never blocking the caller.

    `announce` gets the same progress, for Flower. Events that the store cannot take are dropped:
    they tell about a job and decide nothing.
    """

    def __init__(
        self,
        store: AttemptStore,
        job_id: str,
        attempt: int,
        *,
        token: str = "",
        announce: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._attempt = attempt
        self._token = token
        self._announce = announce
        self._queue: queue.Queue[NewEvent | None] = queue.Queue(_QUEUE_LIMIT)
        self._latest: Progress | None = None
        self._sent: Progress | None = None
        self._thread = threading.Thread(target=self._run, name=f"report-{job_id[:8]}", daemon=True)
        self._thread.start()

    def event(self, kind: EventKind, **data: object) -> None:
        """Append an event."""
        try:
            self._queue.put_nowait(NewEvent(kind=kind, data=dict(data)))
        except queue.Full:
            log.debug("Event dropped", extra={"event": "event_dropped", "job_id": self._job_id})

    def phase(self, name: str) -> None:
        """The job enters a phase."""
        self.event(EventKind.PHASE, phase=name)
        self.progress(Progress(phase=name, fraction=self._latest.fraction if self._latest else 0.0))

    def progress(self, progress: Progress) -> None:
        """The job is so far; only the newest of these is kept while the last one is on its way."""
        self._latest = progress

    def close(self, *, timeout_s: float = 5.0) -> None:
        """Send what is left, as far as it goes within the time."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout=timeout_s)

    def _run(self) -> None:
        while True:
            try:
                batch, closing = self._next_batch()
                if batch or self._latest is not self._sent:
                    self._send(batch)
                if closing:
                    return
            except Exception:  # news must never end a render
                log.exception("Reporting failed", extra={"event": "report_failed", "job_id": self._job_id})

    def _next_batch(self) -> tuple[list[NewEvent], bool]:
        batch: list[NewEvent] = []
        try:
            item = self._queue.get(timeout=_EVERY_S)
            while item is not None:
                batch.append(item)
                item = self._queue.get_nowait()
            return batch, True
        except queue.Empty:
            return batch, False

    def _send(self, batch: list[NewEvent]) -> None:
        progress = self._latest if self._latest is not self._sent else None
        if progress is not None:
            batch.append(NewEvent(kind=EventKind.PROGRESS, data=asdict(progress)))
            self._sent = progress
        try:
            self._store.report(self._job_id, self._attempt, batch, progress=progress, token=self._token)
        except StoreUnavailable:
            log.debug("Events dropped", extra={"event": "events_dropped", "job_id": self._job_id})
        if progress is not None:
            self._announce(progress)
