"""Whose fault an error is, and so what happens next: one table, `sort_fault`.

The job's fault: failed now, with what and where. The place's: another worker may have what is missing.
Transient: retried with back-off. The machine's: queued again, not counted against the job.
"""

from __future__ import annotations

import errno
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from comfy.errors import (
    ComfyError,
    GraphError,
    GraphRejected,
    NothingToShow,
    OutOfMemory,
    RunFailed,
    RunInterrupted,
    RunLost,
    ServerError,
    ServerForbids,
    ServerUnreachable,
)
from farm.errors import FarmError, InputUnavailable, StorageUnavailable
from farm.job import ErrorKind, JobError
from worker.errors import BrokenOutput, ComfyDied, ServerLost, TimeLimitReached, WorkerError

_FIRST_RETRY_S: Final = 5.0
_LONGEST_RETRY_S: Final = 300.0

# A CUDA context that has seen one of these is dead for the process: every later call fails.
# Source: CUDA's error codes 700, 710, 716, 719; PyTorch's notes on asynchronous errors.
_STICKY: Final = re.compile(
    r"illegal memory access|device-side assert|unspecified launch failure|misaligned address"
    r"|CUDNN_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED)|CUBLAS_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED)",
    re.IGNORECASE,
)
# Nothing in this process, and no restart of it, brings such a card back.
# Source: NVIDIA, "XID Errors"; CUDA's error codes 46, 100, 214.
_CARD_GONE: Final = re.compile(
    r"uncorrectable ECC|\bXid\b|GPU is lost|fallen off the bus|CUDA driver error|unspecified driver error"
    r"|device\(?s?\)? (is|are|is/are) (busy or )?unavailable|no CUDA-capable device",
    re.IGNORECASE,
)
_WRONG_BUILD: Final = re.compile(r"no kernel image is available|not compatible with the current PyTorch")
_MISSING_HERE: Final = frozenset({"missing_node_type", "unknown_node", "missing_model"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error, sorted."""

    error: JobError
    retry: bool  # while attempts are left; never for the job's own fault
    restart_comfy: bool = False  # the process cannot be trusted with the next job

    def retry_in_s(self, failed_before: int) -> float | None:
        """Seconds until the next try, doubled each time with some jitter; None: no other try."""
        if not self.retry:
            return None
        if self.error.kind in (ErrorKind.PLACE, ErrorKind.MACHINE):
            return 0.0  # nothing to wait for: it is another worker that takes it
        wait_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0**failed_before)
        return wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing


def sort_fault(exc: BaseException) -> Fault:
    """The table. An error that is not in it is taken for transient: a retry is cheaper than a loss."""
    for kinds, sort in _TABLE:
        if isinstance(exc, kinds):
            return sort(exc)
    return _fault(ErrorKind.TRANSIENT, "unexpected", f"{type(exc).__name__}: {exc}")


def _fault(
    kind: ErrorKind,
    code: str,
    message: object,
    *,
    restart: bool = False,
    node_id: str | None = None,
    node_type: str | None = None,
    **details: Any,
) -> Fault:
    error = JobError(
        kind=kind, code=code, message=str(message), node_id=node_id, node_type=node_type, details=details
    )
    retry = kind in (ErrorKind.PLACE, ErrorKind.TRANSIENT, ErrorKind.MACHINE)
    return Fault(error=error, retry=retry, restart_comfy=restart)


def _graph(exc: Any) -> Fault:
    kinds = {problem.kind for problem in exc.problems}
    first = exc.problems[0]
    missing_here = isinstance(exc, GraphRejected) and kinds <= _MISSING_HERE
    return _fault(
        ErrorKind.PLACE if missing_here else ErrorKind.JOB,
        "missing_here" if missing_here else "graph_rejected",
        exc,
        node_id=first.node_id,
        node_type=first.class_type,
        problems=[str(problem) for problem in exc.problems],
    )


def _run(exc: Any) -> Fault:
    text = f"{exc.exception_type}: {exc.exception_message}"
    where = {"node_id": exc.node_id, "node_type": exc.node_type}
    details = {"exception_type": exc.exception_type, "traceback": list(exc.traceback)[-12:]}
    if isinstance(exc, OutOfMemory):
        return _fault(ErrorKind.TRANSIENT, "out_of_memory", exc, **where, **details)
    if _CARD_GONE.search(text):
        return _fault(ErrorKind.MACHINE, "gpu_lost", exc, restart=True, **where, **details)
    if _STICKY.search(text):
        return _fault(ErrorKind.MACHINE, "cuda_context_lost", exc, restart=True, **where, **details)
    if _WRONG_BUILD.search(text):
        return _fault(ErrorKind.PLACE, "wrong_build", exc, **where, **details)
    if "No space left on device" in text:
        return _fault(ErrorKind.MACHINE, "disk_full", exc, **where, **details)
    return _fault(ErrorKind.JOB, "node_failed", exc, **where, **details)


def _nothing(exc: Any) -> Fault:
    if not exc.blocked:
        return _fault(ErrorKind.JOB, "no_output", exc)
    first = exc.blocked[0]
    return _fault(ErrorKind.JOB, "blocked", exc, node_id=first.node_id, node_type=first.node_type)


def _os_error(exc: Any) -> Fault:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return _fault(ErrorKind.MACHINE, "disk_full", f"the worker's disk is full: {exc}")
    return _fault(ErrorKind.TRANSIENT, "io_error", exc)


def _always(kind: ErrorKind, code: str, *, restart: bool = False) -> Callable[[Any], Fault]:
    return lambda exc: _fault(kind, code, exc, restart=restart)


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
    (TimeLimitReached, _always(ErrorKind.TIME_LIMIT, "time_limit")),
    (ComfyDied, _always(ErrorKind.TRANSIENT, "comfy_died")),
    (BrokenOutput, _always(ErrorKind.TRANSIENT, "broken_output")),
    (InputUnavailable, _always(ErrorKind.JOB, "input_unavailable")),
    (StorageUnavailable, _always(ErrorKind.TRANSIENT, "storage_unavailable")),
    (ServerLost, _always(ErrorKind.MACHINE, "server_lost")),
    (WorkerError, _always(ErrorKind.MACHINE, "worker_broken")),
    (FarmError, _always(ErrorKind.TRANSIENT, "farm_error")),
    (OSError, _os_error),
)
