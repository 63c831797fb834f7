"""Exit codes, and what a person is told of an error: the one place that knows both."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from comfy.errors import ComfyError
from farm.errors import (
    FarmError,
    IllegalMove,
    InvalidJob,
    JobFailed,
    JobNotFound,
    KeyNotFound,
    NoResult,
    ObjectDamaged,
    ObjectNotFound,
    StackError,
    StorageUnavailable,
    StoreUnavailable,
    Unplaceable,
    WaitTimeout,
    WorkerNotFound,
)


class ExitCode(IntEnum):
    """What `farm` ends with."""

    OK = 0
    JOB_FAILED = 1  # a job ended failed, canceled or expired, or has no result
    USAGE = 2  # the command, a setting or the job is not valid; nothing was stored
    NOT_FOUND = 3  # there is no such job, worker, key or file
    TIMED_OUT = 4  # a job has not ended, and is not waited for any longer: the time is up, or it is held
    UNREACHABLE = 5  # Redis or S3 does not answer, or refuses us
    STACK = 6  # a part of the local stack does not start or stop
    NOT_NOW = 7  # a job is not in a state from which that is possible; it stays as it is
    LINT_ERRORS = 10  # `farm lint` found an error
    LINT_WARNINGS = 11  # it found no error, and a warning
    INTERNAL = 70  # a fault of the farm itself
    INTERRUPTED = 130  # Ctrl-C


CODES: Final[dict[type[Exception], ExitCode]] = {
    JobFailed: ExitCode.JOB_FAILED,
    NoResult: ExitCode.JOB_FAILED,
    IllegalMove: ExitCode.NOT_NOW,
    JobNotFound: ExitCode.NOT_FOUND,
    KeyNotFound: ExitCode.NOT_FOUND,
    ObjectNotFound: ExitCode.NOT_FOUND,
    WorkerNotFound: ExitCode.NOT_FOUND,
    WaitTimeout: ExitCode.TIMED_OUT,
    StoreUnavailable: ExitCode.UNREACHABLE,
    StorageUnavailable: ExitCode.UNREACHABLE,
    ObjectDamaged: ExitCode.UNREACHABLE,
    StackError: ExitCode.STACK,
}

# Shown by `farm --help`.
EPILOG: Final = (
    "Exit codes: 0 ok · 1 a job failed · 2 the command, a setting or the job is not valid · 3 not found · "
    "4 a job has not ended (time is up, or it is held) · 5 Redis or S3 cannot be reached · "
    "6 the local stack · 7 not possible in the job's present state · "
    "10 lint found errors · 11 lint found warnings · 70 a fault of the farm · "
    "130 interrupted. Set FARM_DEBUG=1 to see tracebacks."
)


def code_of(exc: Exception) -> ExitCode:
    """The exit code for an error of ours."""
    return next((code for kind, code in CODES.items() if isinstance(exc, kind)), ExitCode.USAGE)


def told(exc: FarmError | ComfyError) -> str:
    """An error as a person reads it: one line, or one for each thing that is wrong."""
    if isinstance(exc, InvalidJob) and len(exc.problems) > 1:
        remedy = [exc.remedy] if isinstance(exc, Unplaceable) else []
        lines = [f"  {each}" for each in exc.problems]
        return "\n".join([f"{len(exc.problems)} things are wrong:", *lines, *remedy])
    return str(exc)
