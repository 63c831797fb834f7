"""What one claim writes into the store: each with its fence, the last ones for as long as Redis is away."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from farm.errors import StoreUnavailable
from farm.job import ErrorKind, JobError, JobResult
from farm.store.base import Claim, LeaseAnswer, NewEvent
from farm.store.roles import AttemptStore
from worker.results.republish import HOLD_S

_PATIENCE_S: Final = 600.0  # how long a finished render waits for Redis to come back

_Answer = TypeVar("_Answer")


class Booking:
    """Of one claim of a job by a worker."""

    def __init__(self, store: AttemptStore, claim: Claim, worker: str, *, renew_s: float) -> None:
        """`renew_s`: how often a write is tried while the store is away."""
        self._store = store
        self._claim = claim
        self._worker = worker
        self._renew_s = renew_s

    def tell(self, events: Sequence[NewEvent]) -> None:
        """Not by the reporter: the attempt may end with this, and its stream takes nothing more then."""
        claim = self._claim
        with contextlib.suppress(StoreUnavailable):
            self._store.report(claim.job_id, claim.attempt, events, token=claim.token)

    def succeed(self, result: JobResult) -> LeaseAnswer:
        """Commit it; the answer may be *lost* or *canceled*, and then it is not."""
        claim = self._claim
        return self.insist(
            lambda: self._store.succeed(claim.job_id, claim.attempt, result, token=claim.token)
        )

    def cancel(self) -> None:
        """End the job as canceled."""
        claim = self._claim
        self.insist(lambda: self._store.end_canceled(claim.job_id, claim.attempt, token=claim.token))

    def release(self, reason: str) -> None:
        """Give the job back, if that was not done for it; the same write twice is answered twice."""
        claim = self._claim
        self.insist(
            lambda: self._store.release(claim.job_id, claim.attempt, reason=reason, token=claim.token)
        )

    def put_on_hold(self, error: JobError) -> str:
        """Have the job wait for this worker, which has its files; what the store says to that."""
        claim = self._claim
        told = replace(error, details={**error.details, "files_wait_on": self._worker})
        return self.insist(
            lambda: self._store.put_on_hold(
                claim.job_id, claim.attempt, told, hold_s=HOLD_S, token=claim.token
            )
        ).value

    def insist(self, write: Callable[[], _Answer]) -> _Answer:
        """Make a final write, for as long as it takes Redis to come back; every one may be repeated.

        The lease is renewed by its keeper meanwhile; if it ran out, the store's fence says so.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return write()
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(self._renew_s)


def publishers_busy(worker: str) -> JobError:
    """Why a job is on hold although the storage may be well."""
    return JobError(
        kind=ErrorKind.TRANSIENT,
        code="publishers_busy",
        message=f"all that {worker} publishes at once is on its way; the finished files wait on its disk",
    )


def worker_drains(worker: str) -> JobError:
    """Why a job is on hold until its worker is back."""
    return JobError(
        kind=ErrorKind.TRANSIENT,
        code="worker_drains",
        message=f"{worker} left before its files were stored; they wait on its disk for its next start",
    )
