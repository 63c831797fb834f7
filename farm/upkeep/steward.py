"""The loop that repairs what died: it sweeps the store, in one process of the farm at a time."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from farm.errors import StoreUnavailable
from farm.fleet.placing import Placer
from farm.store.base import Swept
from farm.store.roles import StewardStore
from farm.upkeep.courier import Courier

log = logging.getLogger(__name__)

_LOCK: Final = "steward"
_LONGEST_WAIT_S: Final = 2.0  # between two tries while the store cannot be reached


class Steward:
    """Sweeps the store every `sweep_s` while it holds the farm's steward lock.

    Every worker runs one; the lock, which ends by itself, makes one of them active. When that one
    dies, another takes over within three sweeps.

    Args:
        holder: who this is, unique in the farm.
        sweep_s: seconds between two sweeps.
        grace_s: seconds after an outage of the store, or a start of it, for which leases are left
            alone: workers could not renew them, and every one of them would seem to have run out.
            One renewal period of the workers, or a little more.
        courier: sends what webhooks are to be told, and is stopped with this; None: nobody here does.
    """

    def __init__(
        self,
        store: StewardStore,
        *,
        holder: str,
        grace_s: float,
        sweep_s: float = 1.0,
        courier: Courier | None = None,
    ) -> None:
        self._store = store
        self._placer = Placer(store)
        self._courier = courier
        self._holder = holder
        self._sweep_s = sweep_s
        self._grace_s = grace_s
        self._lock_s = max(3 * sweep_s, 1.0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._grace_until = 0.0  # monotonic
        self._knows_age = False
        self._last_turn = time.monotonic()

    def start(self) -> None:
        """Run in a thread of its own."""
        self._stop.clear()
        self._thread = threading.Thread(target=self.run_forever, name="steward", daemon=True)
        self._thread.start()

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """End the loop and give the lock back, so that another steward goes on at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None
        if self._courier is not None:
            self._courier.stop()

    def run_forever(self) -> None:
        """Sweep until `stop` is called."""
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            began = time.monotonic()
            wait_s = self._turn() - (time.monotonic() - began)
        self._resign()

    def _turn(self) -> float:
        """Do what is due; seconds until the next turn."""
        now = time.monotonic()
        if now - self._last_turn > self._lock_s:
            # Frozen, or starved: an outage may have come and gone meanwhile.
            self._knows_age = False
        self._last_turn = now
        try:
            elected = self._store.acquire(_LOCK, self._holder, ttl_s=self._lock_s)
            self._begin_grace_if_new()
            if elected and time.monotonic() >= self._grace_until:
                _tell(self._store.sweep())
                self._placer.turn()
                if self._courier is not None:
                    self._courier.turn()
        except StoreUnavailable as exc:
            return self._unreachable(exc)
        except Exception:  # a fault here must not end the repair of everything else
            log.exception("Sweep failed", extra={"event": "sweep_failed"})
        return self._sweep_s

    def _begin_grace_if_new(self) -> None:
        """The store answers: was it away, or is it younger than it would have to be?"""
        if not self._failures and self._knows_age:
            return
        # Whoever starts anew has seen no outage, but the server's age gives a restart away.
        uptime_s = self._store.ping().get("uptime_s")
        if self._failures or (uptime_s is not None and uptime_s <= self._grace_s):
            self._grace_until = time.monotonic() + self._grace_s
        if self._failures:
            log.info("Store is back", extra={"event": "store_back", "grace_s": self._grace_s})
        self._failures, self._knows_age = 0, True

    def _unreachable(self, exc: StoreUnavailable) -> float:
        self._failures += 1
        if self._failures == 1:
            log.warning(
                "Store cannot be reached; nothing is repaired until it is back",
                extra={"event": "store_away", "where": exc.where, "reason": exc.reason},
            )
        return min(self._sweep_s * 2.0 ** min(self._failures - 1, 6), _LONGEST_WAIT_S)

    def _resign(self) -> None:
        try:
            self._store.unlock(_LOCK, self._holder)
        except StoreUnavailable:
            log.info("The steward's lock is left to expire", extra={"event": "steward_lock_left"})


def _tell(swept: Swept) -> None:
    for job_id in swept.lost:
        log.warning(
            "Job taken from a worker that was not heard of", extra={"event": "lost", "job_id": job_id}
        )
    if swept:
        log.info(
            "Swept",
            extra={
                "event": "swept",
                "notified": len(swept.notifications),
                "lost": len(swept.lost),
                "expired": len(swept.expired),
                "purged": swept.purged,
            },
        )
