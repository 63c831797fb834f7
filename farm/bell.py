"""The bell of a producer, which needs Celery only once it rings."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from farm.settings import RedisSettings

if TYPE_CHECKING:
    from farm.broker import CeleryBell


class LazyBell:
    """A `CeleryBell` that is made at its first use: to import Celery takes half a second, and most of
    what a command line does (list, follow, fetch) announces no job. Thread-safe."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._bell: CeleryBell | None = None

    def list_key(self, queue: str, priority: int) -> str:
        """As `CeleryBell.list_key`."""
        return self._made().list_key(queue, priority)

    def message(self, job_id: str, *, queue: str, priority: int, title: str) -> bytes:
        """As `CeleryBell.message`."""
        return self._made().message(job_id, queue=queue, priority=priority, title=title)

    def _made(self) -> CeleryBell:
        with self._lock:
            if self._bell is None:
                from farm.broker import CeleryBell, make_app

                self._bell = CeleryBell(make_app(self._settings), self._settings.namespace)
            return self._bell
