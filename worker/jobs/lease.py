"""Keeping the right to work: one thread renews the leases of all jobs that this worker holds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from farm.errors import StoreUnavailable
from farm.store.base import Claim, LeaseAnswer
from farm.store.roles import AttemptStore

log = logging.getLogger(__name__)

_AWAY_S: Final = 1.0  # between two tries while Redis is away: leases are left alone for 4 s after it is back
_LOOK_S: Final = 0.05  # the keeper renews meanwhile


class Lease:
    """The right to work on one attempt, as far as we know."""

    def __init__(self, claim: Claim, *, lease_s: float, asked_at: float | None = None) -> None:
        """It runs from when it was asked for (monotonic; None: just now): the answer may come much later."""
        self.claim = claim
        self._lease_s = lease_s
        self._renewed = time.monotonic() if asked_at is None else asked_at
        self._answer = LeaseAnswer.OK
        self._stop = threading.Event()
        self._released = self._on_hold = False
        self.is_rendered = False  # its files are finished: from now on it only has to be published

    @property
    def answer(self) -> LeaseAnswer:
        """What the store said last."""
        return self._answer

    @property
    def stopped(self) -> threading.Event:
        """Set once work must stop: lost, canceled, or released or put on hold by a drain."""
        return self._stop

    @property
    def released(self) -> bool:
        """Whether we are to give the job back because this worker drains."""
        return self._released

    @property
    def on_hold(self) -> bool:
        """Whether we are to keep the finished files, and the job for ourselves: this worker drains."""
        return self._on_hold

    @property
    def provable(self) -> bool:
        """Whether a renewal succeeded within the lease's length: nobody else can have the job."""
        return time.monotonic() - self._renewed < self._lease_s

    def prove(self) -> None:
        """Return once nobody else can have the job, or once the work must stop; raises nothing.

        For a worker that was frozen or cut off: what it would begin now may be somebody else's by now.
        """
        while not self.provable and not self._stop.wait(_LOOK_S):
            pass

    def note(self, answer: LeaseAnswer, *, asked_at: float) -> None:
        """Take the store's answer to a write that was sent at `asked_at` (monotonic)."""
        self._answer = answer
        if answer is LeaseAnswer.OK:
            self._renewed = asked_at
        else:
            self._stop.set()

    def release(self) -> None:
        """Ask the job to stop, so that it can be given back."""
        self._released = True
        self._stop.set()

    def put_on_hold(self) -> None:
        """Ask the publishing to stop; what is rendered stays, and so does the right to it."""
        self._on_hold = True
        self._stop.set()


class LeaseKeeper:
    """Renews every held lease each `renew_s`, from its own thread.

    Give it a store with a connection of its own: a slow upload or report must not delay a renewal.
    An unreachable Redis is tolerated, the render goes on; the store's fence decides at the end.
    """

    def __init__(self, store: AttemptStore, *, renew_s: float, lease_s: float) -> None:
        self._store = store
        self._renew_s = renew_s
        self._lease_s = lease_s
        self._held: dict[str, Lease] = {}  # by token: two attempts at one job may overlap
        self._asked_for = 0  # claims that are not answered yet
        self._lock = threading.Lock()
        self._poke = threading.Event()
        self._closing = False
        self._away_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        """Start the renewing thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; leases that are still held run out by themselves."""
        self._closing = True
        self._poke.set()
        self._thread.join(timeout=10.0)

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """A claim is on its way while the block runs: whoever drains waits for what comes of it."""
        with self._lock:
            self._asked_for += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked_for -= 1

    @contextmanager
    def hold(self, claim: Claim, *, asked_at: float | None = None) -> Iterator[Lease]:
        """Keep the lease of a claim, asked for at that time (monotonic), alive while the block runs."""
        lease = Lease(claim, lease_s=self._lease_s, asked_at=asked_at)
        with self._lock:
            self._held[claim.token] = lease
        try:
            yield lease
        finally:
            with self._lock:
                self._held.pop(claim.token, None)

    def renew_now(self) -> None:
        """Ask the store at once; a cancel was heard of."""
        self._poke.set()

    @property
    def has_asked(self) -> bool:
        """Whether another lease may come: a claim is on its way."""
        with self._lock:
            return self._asked_for > 0

    def leases(self) -> list[Lease]:
        """The leases held now."""
        with self._lock:
            return list(self._held.values())

    def _run(self) -> None:
        while not self._closing:
            away = self._away_since is not None
            self._poke.wait(timeout=min(self._renew_s, _AWAY_S) if away else self._renew_s)
            self._poke.clear()
            for lease in self.leases():
                self._guarded(lambda lease=lease: self._renew(lease))  # type: ignore[misc]
                if self._away_since is not None:
                    break  # each of the others would wait as long, and come too late once Redis is back

    def _renew(self, lease: Lease) -> None:
        asked_at = time.monotonic()
        try:
            answer = self._store.renew(lease.claim.job_id, lease.claim.attempt, token=lease.claim.token)
        except StoreUnavailable as exc:
            if self._away_since is None:
                self._away_since = asked_at
                log.warning(
                    "Redis is away; the render goes on", extra={"event": "redis_away", "reason": str(exc)}
                )
            return
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            log.warning("Redis is back", extra={"event": "redis_back", "away_s": round(away_s, 1)})
            self._away_since = None
        lease.note(answer, asked_at=asked_at)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:  # the thread must outlive any surprise, or every job here loses its lease
            log.exception("Renewing a lease failed", extra={"event": "renew_failed"})
