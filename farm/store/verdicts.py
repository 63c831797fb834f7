"""What the store itself says and decides of a job, in both of its forms: scripts are given these words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from farm.job import PUBLISHING, AttemptNote, ErrorKind, JobError

DEADLINE_PASSED: Final = "its deadline passed"
WORKER_LOST: Final = "its worker was lost"
CLAIM_UNHEARD: Final = "its worker did not hear that it had it"
RAN: Final = "ran"
PUBLISHED: Final = "published the files of"
HELD: Final = "held"  # ran or published: so many losses of both kinds are not looked at one by one
TOO_MANY_WAIT: Final = "too many messages wait for this receiver"
_LEASE_LOST: Final = (
    "worker {worker} was not heard of for {lease_s} s while it {doing} attempt {attempt}; it died, or was "
    "cut off from Redis"
)
_WORKERS_LOST: Final = (
    "{count} workers were lost while they {doing} this job, the last one was {worker}; look at their logs "
    "before it is retried"
)
_NO_WORKER_CAN: Final = "no worker here can run it (tried: {workers}): {why}"
_MACHINES_FAILED: Final = (
    "it failed {count} times for the reasons of a machine, the last time on {worker}: {why}"
)
LEFT_TO_OTHERS: Final = 15  # times `avoid_s`: so long others have the first right, if there are any
BACK_SOON_S: Final = 60.0  # for so long a worker that ended may be started again, and is waited for
PASSED_AT_ONCE: Final = 10  # so many of a priority queue are let past younger ones elsewhere by one sweep
NOTIFY_AGAIN_S: Final = 1.0  # after a claim was refused *here*: the notification that brought it is used up

# For scripts, by the name that they have there.
WORDS: Final = {
    "deadline_passed": DEADLINE_PASSED,
    "worker_lost": WORKER_LOST,
    "ran": RAN,
    "published": PUBLISHED,
    "held": HELD,
    "too_many_wait": TOO_MANY_WAIT,
    "lease_lost": _LEASE_LOST,
    "workers_lost": _WORKERS_LOST,
    "no_worker_can": _NO_WORKER_CAN,
    "machines_failed": _MACHINES_FAILED,
}


def lease_lost(worker: str, attempt: int, lease_s: float, *, publishing: bool) -> JobError:
    """Why an attempt ended whose lease ran out; `publishing`: its work on the card was done."""
    return JobError(
        kind=ErrorKind.MACHINE,
        code="lease_lost",
        message=_LEASE_LOST.format(
            worker=worker, lease_s=f"{lease_s:g}", doing=PUBLISHED if publishing else RAN, attempt=attempt
        ),
        details={"phase": PUBLISHING} if publishing else {},
    )


def workers_lost(count: int, last_worker: str, workers: Sequence[str], *, doing: str) -> JobError:
    """Why a job is poison; `JobRecord.attempts` holds how each attempt ended."""
    return JobError(
        kind=ErrorKind.POISON,
        code="workers_lost",
        message=_WORKERS_LOST.format(count=count, doing=doing, worker=last_worker),
        details={"workers": list(workers)},
    )


def no_worker_can(workers: Sequence[str], why: str) -> JobError:
    """Why a job is failed that needs what no live worker has; `JobRecord.attempts` holds what each lacks."""
    return JobError(
        kind=ErrorKind.UNSUITABLE,
        code="no_worker_can",
        message=_NO_WORKER_CAN.format(workers=", ".join(workers), why=why),
        details={"workers": list(workers)},
    )


def machines_failed(count: int, last_worker: str, notes: Sequence[AttemptNote], why: str) -> JobError:
    """Why a job is poison on which machine after machine failed."""
    failed_on = [
        note.worker
        for note in notes
        if note.outcome == "failed" and note.error is not None and note.error.kind is ErrorKind.MACHINE
    ]
    return JobError(
        kind=ErrorKind.POISON,
        code="machines_failed",
        message=_MACHINES_FAILED.format(count=count, worker=last_worker, why=why),
        details={"workers": failed_on},
    )
