"""What the store itself says of a job, in both of its forms. The scripts say the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from farm.job import PUBLISHING, AttemptNote, ErrorKind, JobError

DEADLINE_PASSED: Final = "its deadline passed"
WORKER_LOST: Final = "its worker was lost"
LEFT_TO_OTHERS: Final = 15  # times `avoid_s`: so long others have the first right, if there are any
PASSED_AT_ONCE: Final = 10  # so many of a priority queue are let past younger ones elsewhere by one sweep
NOTIFY_AGAIN_S: Final = 1.0  # after a claim was refused *here*: the notification that brought it is used up


def lease_lost(worker: str, attempt: int, lease_s: float, *, publishing: bool) -> JobError:
    """Why an attempt ended whose lease ran out; `publishing`: its work on the card was done."""
    doing = "published the files of" if publishing else "ran"
    return JobError(
        kind=ErrorKind.MACHINE,
        code="lease_lost",
        message=f"worker {worker} was not heard of for {lease_s:g} s while it {doing} attempt {attempt}; "
        "it died, or was cut off from Redis",
        details={"phase": PUBLISHING} if publishing else {},
    )


def workers_lost(count: int, last_worker: str, workers: Sequence[str], *, doing: str) -> JobError:
    """Why a job is poison; `JobRecord.attempts` holds how each attempt ended."""
    return JobError(
        kind=ErrorKind.POISON,
        code="workers_lost",
        message=f"{count} workers were lost while they {doing}, the last one was {last_worker}; "
        "look at their logs before it is retried",
        details={"workers": list(workers)},
    )


def no_worker_can(workers: Sequence[str], why: str) -> JobError:
    """Why a job is failed that needs what no live worker has; `JobRecord.attempts` holds what each lacks."""
    return JobError(
        kind=ErrorKind.UNSUITABLE,
        code="no_worker_can",
        message=f"no worker here can run it (tried: {', '.join(workers)}): {why}",
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
        message=f"it failed {count} times for the reasons of a machine, the last time on {last_worker}: "
        f"{why}",
        details={"workers": failed_on},
    )
