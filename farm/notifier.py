"""The store of a farm in Redis, with a notifier that needs Celery only once it announces a job."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from farm.local.surroundings import settings_here
from farm.settings.redis import RedisSettings, StoreSettings

if TYPE_CHECKING:
    from farm.broker import CeleryNotifier
    from farm.store.redis.store import RedisJobStore


def store_at(redis: RedisSettings) -> RedisJobStore:
    """The job store there; it connects at its first use."""
    # To import Redis's client takes long too, and a farm may be given its store.
    from farm.store.redis.store import connect, store_limits

    return connect(redis, store_limits(settings_here(StoreSettings)), LazyNotifier(redis))


class LazyNotifier:
    """A `CeleryNotifier` that is made at its first use: to import Celery takes half a second, and most of
    what a command line does (list, follow, fetch) announces no job. Thread-safe."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._notifier: CeleryNotifier | None = None

    def list_key(self, queue: str, priority: int) -> str:
        """As `CeleryNotifier.list_key`."""
        return self._made().list_key(queue, priority)

    def message(self, job_id: str, *, queue: str, priority: int, title: str) -> bytes:
        """As `CeleryNotifier.message`."""
        return self._made().message(job_id, queue=queue, priority=priority, title=title)

    def _made(self) -> CeleryNotifier:
        with self._lock:
            if self._notifier is None:
                from farm.broker import CeleryNotifier, make_app

                self._notifier = CeleryNotifier(make_app(self._settings), self._settings.namespace)
            return self._notifier
