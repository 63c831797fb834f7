"""One worker per card across containers too, which share no lock files: a lock in the store, by UUID."""

from __future__ import annotations

from farm.store.roles import WorkerStore
from worker.errors import InUse
from worker.gpu.card import GpuCard
from worker.service.status_keeper import TTL_S


class CardHold:
    """The lock; `keep` must be called more often than every `TTL_S` seconds."""

    def __init__(self, store: WorkerStore, name: str, gpu: GpuCard) -> None:
        self._store = store
        self._name = name
        self._gpu = gpu
        self._lock = f"gpu:{gpu.uuid}"

    def take(self) -> None:
        """Take it.

        Raises:
            InUse: another worker has the card; the error names it.
            StoreUnavailable: the store does not answer.
        """
        if self._store.acquire(self._lock, self._name, ttl_s=TTL_S):
            return
        gpu = self._gpu
        workers = self._store.workers()
        there = [each.name for each in workers if each.gpu is not None and each.gpu.uuid == gpu.uuid]
        raise InUse(
            f"GPU {gpu.index} ({gpu.name}, {gpu.uuid})",
            there[0] if there else "another worker of this farm",
            f"one worker per card; a worker that died lets go of it within {TTL_S:g} s",
        )

    def keep(self) -> None:
        """Hold it for `TTL_S` more."""
        self._store.acquire(self._lock, self._name, ttl_s=TTL_S)

    def release(self) -> None:
        """Give it back."""
        self._store.unlock(self._lock, self._name)
