"""Whose fault an error is, and so what happens next: one table, `sort_fault`.

The job's fault: failed now, with what and where; but what a broken worker could have brought about as well
is in doubt, until another worker has failed in the same way. The worker's, which is unsuitable: another one
may have what is missing. Transient: retried with back-off. The machine's: queued again, not counted against
the job.

The author of a job can write most of what an error's text says, so no text decides: types, `errno` and a
traceback do (`comfy.protocol.causes`), and what the machine says of itself.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from comfy.errors import (
    ComfyError,
    GraphError,
    GraphRejected,
    NothingToShow,
    RunFailed,
    RunInterrupted,
    RunLost,
    ServerError,
    ServerForbids,
    ServerUnreachable,
)
from comfy.protocol.causes import Cause, cause_of
from farm.errors import FarmError, InputUnavailable, StorageUnavailable
from farm.job import ErrorKind, JobError
from worker.errors import BrokenOutput, ComfyDied, ServerLost, TimeLimitReached, WorkerError

GPU_LOST: Final = "gpu_lost"
DISK_FULL: Final = "disk_full"
WRONG_BUILD: Final = "wrong_build"

_FIRST_RETRY_S: Final = 5.0
_LONGEST_RETRY_S: Final = 300.0

_MISSING_HERE: Final = frozenset({"missing_node_type", "unknown_node", "missing_model"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTrouble:
    """What the machine itself says is wrong with it, at the moment when an attempt fails."""

    code: str  # "gpu_lost", "disk_full"
    reason: str  # in its own figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error, sorted."""

    error: JobError
    retry: bool  # while attempts are left; never for the job's own fault
    restart_comfy: bool = False  # the process cannot be trusted with the next job
    doubt: str = ""  # in which way it failed, when that may be this worker's doing: see `JobStore.fail`

    def retry_in_s(self, failed_before: int) -> float | None:
        """Seconds until the next try, doubled each time with some jitter; None: no other try."""
        if self.doubt:
            return 0.0  # the store knows whether another worker is there to try it
        if not self.retry:
            return None
        if self.error.kind in (ErrorKind.UNSUITABLE, ErrorKind.MACHINE):
            return 0.0  # nothing to wait for: it is another worker that takes it
        wait_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0**failed_before)
        return wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing


def sort_fault(exc: BaseException, machine: MachineTrouble | None = None) -> Fault:
    """The table. An error that is not in it is taken for transient: a retry is cheaper than a loss.

    Args:
        machine: what card and disks say now. What may have come of it is laid to it, whatever its text
            says; without it no text makes a lost card or a full disk of an error.
    """
    if machine is not None and isinstance(exc, _MAY_BE_THE_MACHINE):
        return _laid_to(machine, exc)
    for kinds, sort in _TABLE:
        if isinstance(exc, kinds):
            return sort(exc)
    return _fault(ErrorKind.TRANSIENT, "unexpected", f"{type(exc).__name__}: {exc}")


def _laid_to(machine: MachineTrouble, exc: BaseException) -> Fault:
    return _fault(
        ErrorKind.MACHINE,
        machine.code,
        f"{machine.reason}; the attempt ended with: {exc}",
        restart=machine.code == GPU_LOST,
        node_id=getattr(exc, "node_id", None),
        node_type=getattr(exc, "node_type", None),
    )


def _fault(
    kind: ErrorKind,
    code: str,
    message: object,
    *,
    restart: bool = False,
    doubt: str = "",
    node_id: str | None = None,
    node_type: str | None = None,
    **details: Any,
) -> Fault:
    error = JobError(
        kind=kind, code=code, message=str(message), node_id=node_id, node_type=node_type, details=details
    )
    retry = kind in (ErrorKind.UNSUITABLE, ErrorKind.TRANSIENT, ErrorKind.MACHINE)
    return Fault(error=error, retry=retry, restart_comfy=restart, doubt=doubt)


def _graph(exc: Any) -> Fault:
    kinds = {problem.kind for problem in exc.problems}
    first = exc.problems[0]
    missing_here = isinstance(exc, GraphRejected) and kinds <= _MISSING_HERE
    return _fault(
        ErrorKind.UNSUITABLE if missing_here else ErrorKind.JOB,
        "missing_here" if missing_here else "graph_rejected",
        exc,
        node_id=first.node_id,
        node_type=first.class_type,
        problems=[str(problem) for problem in exc.problems],
    )


def _run(exc: Any) -> Fault:
    where = {"node_id": exc.node_id, "node_type": exc.node_type}
    details = {"exception_type": exc.exception_type, "traceback": list(exc.traceback)[-12:]}
    match cause_of(exc.exception_type, exc.exception_message, exc.traceback):
        case Cause.OUT_OF_MEMORY:
            return _fault(ErrorKind.TRANSIENT, "out_of_memory", exc, **where, **details)
        # A process whose context is lost cannot tell whether the card is: another one is started, and
        # NVML is asked about the card.
        case Cause.CONTEXT_LOST | Cause.CARD_GONE:
            return _fault(ErrorKind.MACHINE, "cuda_context_lost", exc, restart=True, **where, **details)
        case Cause.WRONG_BUILD:
            return _fault(ErrorKind.UNSUITABLE, WRONG_BUILD, exc, **where, **details)
        case Cause.SYSTEM:
            return _fault(ErrorKind.TRANSIENT, "io_error", exc, **where, **details)
        case Cause.OTHER:
            # An import that fails, a library of another version: no type of error is the graph's alone.
            doubt = f"{exc.exception_type} in {exc.node_type} {exc.node_id}"
            return _fault(ErrorKind.JOB, "node_failed", exc, doubt=doubt, **where, **details)


def _input(exc: Any) -> Fault:
    # This worker's way to it may be what is broken.
    return _fault(ErrorKind.JOB, "input_unavailable", exc, doubt="input_unavailable")


def _nothing(exc: Any) -> Fault:
    if not exc.blocked:
        return _fault(ErrorKind.JOB, "no_output", exc)
    first = exc.blocked[0]
    return _fault(ErrorKind.JOB, "blocked", exc, node_id=first.node_id, node_type=first.node_type)


def _time_limit(exc: Any) -> Fault:
    held = {} if exc.grace_s is None else {"grace_s": exc.grace_s}
    return _fault(ErrorKind.TIME_LIMIT, "time_limit", exc, **held)


def _os_error(exc: Any) -> Fault:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return _fault(ErrorKind.MACHINE, DISK_FULL, f"the worker's disk is full: {exc}")
    return _fault(ErrorKind.TRANSIENT, "io_error", exc)


def _always(kind: ErrorKind, code: str, *, restart: bool = False) -> Callable[[Any], Fault]:
    return lambda exc: _fault(kind, code, exc, restart=restart)


# What a lost card or a full disk can look like from inside a job.
_MAY_BE_THE_MACHINE: Final = (
    RunFailed,
    RunLost,
    ServerUnreachable,
    ServerError,
    ComfyDied,
    BrokenOutput,
    OSError,
)

# The first row that fits counts.
_TABLE: Final[tuple[tuple[type[BaseException], Callable[[Any], Fault]], ...]] = (
    (GraphError, _graph),
    (RunFailed, _run),
    (RunInterrupted, _always(ErrorKind.TRANSIENT, "interrupted")),
    (RunLost, _always(ErrorKind.TRANSIENT, "comfy_forgot_the_run")),
    (ServerUnreachable, _always(ErrorKind.TRANSIENT, "comfy_unreachable", restart=True)),
    (ServerForbids, _always(ErrorKind.MACHINE, "comfy_forbids")),
    (ServerError, _always(ErrorKind.TRANSIENT, "comfy_error")),
    (NothingToShow, _nothing),
    (ComfyError, _always(ErrorKind.TRANSIENT, "comfy_protocol")),
    (TimeLimitReached, _time_limit),
    (ComfyDied, _always(ErrorKind.TRANSIENT, "comfy_died")),
    (BrokenOutput, _always(ErrorKind.TRANSIENT, "broken_output")),
    (InputUnavailable, _input),
    (StorageUnavailable, _always(ErrorKind.TRANSIENT, "storage_unavailable")),
    (ServerLost, _always(ErrorKind.MACHINE, "server_lost")),
    (WorkerError, _always(ErrorKind.MACHINE, "worker_broken")),
    (FarmError, _always(ErrorKind.TRANSIENT, "farm_error")),
    (OSError, _os_error),
)
