"""A draining worker fetches nothing more, ends what fits the time it has, and gives the rest back."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from farm.errors import JobNotFound, StoreUnavailable
from farm.status.not_fetching import NotFetching
from farm.store.base import Drain, Notification
from farm.store.roles import WorkerStore
from worker.fetching.gate import Gate
from worker.jobs.at_work import AtWork
from worker.jobs.lease import Lease, LeaseKeeper
from worker.service.epoch import EpochWatch
from worker.service.spot import Notice

log = logging.getLogger(__name__)

_UNKNOWN_PACE_S: Final = 2.0  # how long a draining worker waits for a first sign of a job's pace
_LOOK_EVERY_S: Final = 0.05
_KEEP_FILES_S: Final = 3.0  # to put finished files away and to say so in the store


class Draining:
    """Takes SIGTERM, `farm drain` and the cloud's notice; may be called from any thread."""

    def __init__(
        self,
        name: str,
        store: WorkerStore,
        gate: Gate,
        keeper: LeaseKeeper,
        at_work: AtWork,
        epoch: EpochWatch,
        *,
        on_change: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            name: of this worker; the reason that a job given back carries.
            epoch: tells when Redis has forgotten the order.
            on_change: called when an order came, or was taken back.
        """
        self._name = name
        self._store = store
        self._gate = gate
        self._keeper = keeper
        self._at_work = at_work
        self._on_change = on_change
        self._obeying = threading.Lock()
        self._ordered: Drain | None = None
        self._ends = threading.Event()
        self._epoch = epoch
        epoch.on_forgot(self._order_again)

    @property
    def ordered(self) -> Drain | None:
        """What `farm drain` told it last; None: nothing, or it was taken back."""
        return self._ordered

    @property
    def takes_no_job(self) -> bool:
        """Whether a job whose message came a moment too late is left for others."""
        return not self._gate.closed_for.isdisjoint(
            (NotFetching.DRAINING, NotFetching.DRAINED, NotFetching.SPOT_NOTICE)
        )

    def end(self, grace_s: float) -> None:
        """The process ends: returns once every job has ended, or was given back.

        Asked once more, it waits no longer: what still runs is given back at once.
        """
        if self._ends.is_set():
            grace_s = 0.0
        self._ends.set()
        self._gate.close(NotFetching.DRAINING)
        log.info("Draining", extra={"event": "draining", "jobs": list(self._at_work.jobs())})
        self._hand_over(grace_s, reason=f"{self._name} drains")

    def ends_within(self, patience_s: float) -> bool:
        """Whether the process ends; waits so long to be told so."""
        return self._ends.wait(patience_s)

    def obey(self) -> None:
        """Do what `farm drain` ordered, or took back, if that is news.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        with self._obeying:
            told = self._store.drain_of(self._name)
            # Asked after it: a Redis that forgot the order must not seem to have taken it back.
            if self._epoch.forgot() or told is self._ordered:
                return
            self._ordered = told
            log.info("Drain ordered or taken back", extra={"event": "drain", "told": told})
            if told is None:
                self._gate.open(NotFetching.DRAINED)
            else:
                self._gate.close(NotFetching.DRAINED)
        if told is Drain.NOW:
            self._hand_over(0.0, reason=f"{self._name} is drained")
        self._on_change()

    def _order_again(self) -> None:
        if self._ordered is not None:
            self._store.set_drain(self._name, self._ordered)

    def pass_on(self, job_id: str) -> None:
        """A job was fetched in the moment in which the draining began: announce it again, for others.

        Raises:
            StoreUnavailable: its notification is missed by the steward then.
        """
        with contextlib.suppress(JobNotFound):
            job = self._store.get(job_id)
            notification = Notification(
                job_id=job_id, queue=job.queue, priority=job.spec.priority, title=job.spec.title, front=True
            )
            self._store.notify([notification])

    def notice(self, notice: Notice) -> None:
        """The machine will be taken away."""
        self._gate.close(NotFetching.SPOT_NOTICE)
        self._on_change()
        self._hand_over(notice.left_s, reason=f"{self._name} loses its machine")

    def _hand_over(self, grace_s: float, *, reason: str) -> None:
        """Let end what will end within the grace, and give the rest back at once.

        Finished files are neither given up nor waited for to the last: what is not stored by then stays on
        the disk, with the right to publish it, and that needs a moment of the grace.
        """
        began = time.monotonic()
        while True:
            more_may_come = self._keeper.has_asked  # first: what is held by then is among the leases
            held = [lease for lease in self._keeper.leases() if not lease.released]
            if not (held or more_may_come):
                return
            spent_s = time.monotonic() - began
            for lease in held:
                if lease.on_hold:
                    continue  # until the store was told
                if lease.is_rendered:
                    if spent_s >= grace_s - _KEEP_FILES_S:
                        lease.put_on_hold()
                elif not self._fits(lease, grace_s - spent_s, spent_s):
                    self._give_back(lease, reason)
            time.sleep(_LOOK_EVERY_S)

    def _fits(self, lease: Lease, time_s: float, waited_s: float) -> bool:
        left_s = self._at_work.left_s(lease.claim.job_id)
        if left_s is None:
            return waited_s < _UNKNOWN_PACE_S and time_s > 0
        return left_s <= time_s and time_s > 0

    def _give_back(self, lease: Lease, reason: str) -> None:
        claim = lease.claim
        try:
            self._store.release(claim.job_id, claim.attempt, reason=reason, token=claim.token)
        except StoreUnavailable:
            log.warning(
                "A job could not be given back; its lease runs out", extra={"event": "release_failed"}
            )
        lease.release()
