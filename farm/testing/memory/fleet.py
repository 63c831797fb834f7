"""The part of the store in memory that knows the workers: what they say of themselves, and locks."""

from __future__ import annotations

from collections.abc import Mapping

from comfy.wan.paces import FIRST, Pace
from farm.status.worker import WorkerStatus, read_status
from farm.store.base import Drain
from farm.testing.memory.state import MemoryState


class MemoryFleet(MemoryState):
    """Statuses, blobs and locks; all of them end by themselves."""

    def put_worker(self, status: WorkerStatus, *, ttl_s: float) -> None:
        read_again = read_status(status.name, status.to_json())  # as others read it
        with self._lock:
            now = self._clock()
            self._workers[status.name] = (now + ttl_s, read_again)
            last = max((heard for heard, _ in self._lately.values()), default=now)
            silence_s = now - last if now - last > ttl_s else 0.0
            self._lately = {
                name: (self._lately[name][0] + silence_s, gib) for name, gib in self._back_soon().items()
            }
            self._lately[status.name] = (now, int(status.vram_gib or 0))

    def drop_worker(self, name: str) -> None:
        with self._lock:
            self._workers.pop(name, None)

    def workers(self) -> list[WorkerStatus]:
        with self._lock:
            return [status for _, status in sorted(self._living().items())]

    def set_drain(self, name: str, drain: Drain | None) -> None:
        with self._lock:
            if drain is None:
                self._drains.pop(name, None)
            else:
                self._drains[name] = drain
            for feed in self._feeds:
                feed.put("")

    def drain_of(self, name: str) -> Drain | None:
        with self._lock:
            return self._drains.get(name)

    def put_blob(self, name: str, data: bytes, *, ttl_s: float) -> None:
        with self._lock:
            self._blobs[name] = (self._clock() + ttl_s, bytes(data))

    def get_blob(self, name: str) -> bytes | None:
        with self._lock:
            until, data = self._blobs.get(name, (0.0, b""))
            return data if until > self._clock() else None

    def note_paces(self, seconds: Mapping[str, float]) -> None:
        with self._lock:
            for name, spent in seconds.items():
                # Out and in again: the order of the dict is that in which they were heard of.
                self._paces[name] = self._paces.pop(name, FIRST).with_sample(spent)
            while len(self._paces) > self.limits.paces_kept:
                del self._paces[next(iter(self._paces))]

    def paces(self) -> dict[str, Pace]:
        with self._lock:
            return dict(self._paces)

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        with self._lock:
            until, owner = self._locks.get(name, (0.0, holder))
            if owner != holder and until > self._clock():
                return False
            self._locks[name] = (self._clock() + ttl_s, holder)
            return True

    def unlock(self, name: str, holder: str) -> None:
        with self._lock:
            if name in self._locks and self._locks[name][1] == holder:
                del self._locks[name]
