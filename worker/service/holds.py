"""What a worker has for itself alone, across containers too, which share no lock files: a name, a card."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from farm.errors import StoreUnavailable
from farm.status.not_fetching import NotFetching
from farm.store.roles import WorkerStore
from worker.errors import InUse
from worker.fetching.gate import Gate
from worker.gpu.card import GpuCard
from worker.service.status_keeper import TTL_S

log = logging.getLogger(__name__)

# A worker that died holds on for `TTL_S`; one that lives renews within that.
PATIENCE_S: Final = TTL_S + 5.0
_ASK_EVERY_S: Final = 0.5
_IDENTITY: Final = "identity"


def identity_of(folder: Path) -> str:
    """Who works in that folder, the same after each start: only one process at a time has its lock.

    Raises:
        OSError: it cannot be read or written.
    """
    file = folder / _IDENTITY
    if not file.exists():
        file.write_text(uuid.uuid4().hex)
    return file.read_text().strip()


class Hold:
    """A lock in the store; `keep` must be called more often than every `TTL_S` seconds."""

    def __init__(
        self,
        store: WorkerStore,
        lock: str,
        holder: str,
        *,
        what: str,
        who: Callable[[], str],
        advice: str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Prepare.

        Args:
            holder: of whom it is: one that died and comes back as the same takes it again at once.
            what: the lock stands for, for a person.
            who: names who else has it, as well as it can be told.
        """
        self._store = store
        self._lock = lock
        self._holder = holder
        self._what = what
        self._who = who
        self._advice = advice
        self._patience_s = patience_s

    def take(self) -> None:
        """Take it; what a worker that died has left is waited out.

        Raises:
            InUse: another worker has it; the error names it.
            StoreUnavailable: the store does not answer.
        """
        until, waits = time.monotonic() + self._patience_s, threading.Event()
        told = False
        while not self._store.acquire(self._lock, self._holder, ttl_s=TTL_S):
            if time.monotonic() > until:
                raise InUse(self._what, self._who(), self._advice)
            if not told:
                log.warning(
                    "Another worker has what this one needs; should it have died, it lets go soon",
                    extra={"event": "hold_awaited", "what": self._what, "within_s": self._patience_s},
                )
                told = True
            waits.wait(_ASK_EVERY_S)

    def keep(self) -> bool:
        """Hold it for `TTL_S` more; False: another worker has taken it meanwhile.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        return self._store.acquire(self._lock, self._holder, ttl_s=TTL_S)

    def release(self) -> None:
        """Give it back, if it is still ours."""
        try:
            self._store.unlock(self._lock, self._holder)
        except StoreUnavailable:
            log.info("A lock is left to its end", extra={"event": "hold_left", "what": self._what})


def hold_on_name(store: WorkerStore, name: str, identity: str, *, patience_s: float = PATIENCE_S) -> Hold:
    """A worker's name: jobs, holds and orders go by it."""
    return Hold(
        store,
        f"name:{name}",
        identity,
        what=f"the name {name}",
        who=lambda: "another worker of this farm, in another folder or on another machine",
        advice="give each worker a name of its own (FARM_WORKER_NAME)",
        patience_s=patience_s,
    )


def hold_on_card(
    store: WorkerStore, name: str, identity: str, gpu: GpuCard, *, patience_s: float = PATIENCE_S
) -> Hold:
    """A card, by its UUID."""

    def who() -> str:
        there = [each.name for each in store.workers() if each.gpu is not None and each.gpu.uuid == gpu.uuid]
        return there[0] if there else "another worker of this farm"

    return Hold(
        store,
        f"gpu:{gpu.uuid}",
        f"{name} {identity}",
        what=f"GPU {gpu.index} ({gpu.name}, {gpu.uuid})",
        who=who,
        advice=f"one worker per card; a worker that died lets go of it within {TTL_S:g} s",
        patience_s=patience_s,
    )


class Holds:
    """All that one worker holds."""

    def __init__(self, holds: Sequence[Hold], gate: Gate) -> None:
        self._holds = holds
        self._gate = gate

    def take(self) -> None:
        """As `Hold.take`, each of them."""
        for hold in self._holds:
            hold.take()

    def keep(self) -> None:
        """Hold on; fetch nothing while another worker has one of them, which came while this one was cut off.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        kept = [hold.keep() for hold in self._holds]  # each of them, whatever became of the others
        if all(kept):
            self._gate.open(NotFetching.TAKEN)
        elif NotFetching.TAKEN not in self._gate.closed_for:
            log.critical(
                "Another worker has this one's name or card; this one fetches nothing more",
                extra={"event": "taken"},
            )
            self._gate.close(NotFetching.TAKEN)

    def release(self) -> None:
        """As `Hold.release`, each of them."""
        for hold in self._holds:
            hold.release()
