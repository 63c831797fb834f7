"""What can go wrong on a worker besides the job itself, as types.

WorkerError
├── GpuUnusable              there should be a card and it cannot be used; `state` is the named reason
├── InUse                    another worker holds the folder or the card; names the holder
├── FolderUnusable           a folder of the worker cannot be made, read or written
├── ComfyUnusable            the ComfyUI that was named cannot be run at all: a person has to act
├── ComfyStartFailed         it was started and did not become ready; carries its last words
│   └── CrashLoop            … too often in a row: it is not tried again for now
├── ComfyDied                it ended while it was needed; carries exit code and last words
├── ServerLost               a ComfyUI that is not ours was away for too long, or has lost the run
├── AttemptStopped           the attempt's lease is lost, or its job was canceled: nobody waits for it
├── TimeLimitReached         a job ran longer than it may
└── BrokenOutput             a file that was made is not what it should be
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path


class WorkerError(Exception):
    """Base of everything raised by this package."""


class GpuUnusable(WorkerError):
    """The card cannot be used; `state` is a `worker.gpu.nvml.GpuState`."""

    def __init__(self, state: str, what: str, advice: str) -> None:
        super().__init__(f"no usable GPU: {what}; {advice}")
        self.state = state
        self.what = what
        self.advice = advice


class InUse(WorkerError):
    """Another worker holds what this one needs."""

    def __init__(self, what: str, holder: str, advice: str) -> None:
        super().__init__(f"{what} is in use by {holder}; {advice}")
        self.what = what
        self.holder = holder


class FolderUnusable(WorkerError):
    """A folder cannot be used; `setting` is where it comes from."""

    def __init__(self, folder: Path, reason: str, *, setting: str = "FARM_WORKER_DIR") -> None:
        super().__init__(f"folder {folder} cannot be used: {reason} (setting {setting})")
        self.folder = folder
        self.reason = reason
        self.setting = setting


class ComfyUnusable(WorkerError):
    """What was named as ComfyUI cannot be run; trying again does not help."""

    def __init__(self, reason: str, advice: str, *, setting: str, lines: Sequence[str] = ()) -> None:
        super().__init__(f"ComfyUI cannot be run: {reason}; {advice} (setting {setting})")
        self.reason = reason
        self.advice = advice
        self.setting = setting
        self.lines = tuple(lines)


class ComfyStartFailed(WorkerError):
    """ComfyUI was started and is not ready."""

    def __init__(
        self, reason: str, advice: str, *, lines: Sequence[str] = (), exit_code: int | None = None
    ) -> None:
        super().__init__(f"ComfyUI did not start: {reason}; {advice}{last_words(lines)}")
        self.reason = reason
        self.advice = advice
        self.lines = tuple(lines)
        self.exit_code = exit_code


class CrashLoop(ComfyStartFailed):
    """ComfyUI ended too often in a row; `retry_in_s` is when another start is worth trying."""

    def __init__(self, count: int, *, retry_in_s: float, lines: Sequence[str] = ()) -> None:
        super().__init__(
            f"it ended {count} times in a row",
            f"the next start is tried in {retry_in_s:.0f} s; its log says why it ends",
            lines=lines,
        )
        self.count = count
        self.retry_in_s = retry_in_s


class ComfyDied(WorkerError):
    """ComfyUI ended under a job, or was ended because it did not answer any more."""

    def __init__(self, exit_code: int, *, lines: Sequence[str] = (), reason: str | None = None) -> None:
        super().__init__(f"ComfyUI ended: {reason or describe_exit(exit_code)}{last_words(lines)}")
        self.exit_code = exit_code
        self.reason = reason
        self.lines = tuple(lines)


class ServerLost(WorkerError):
    """A ComfyUI that is not ours does not have the run any more, or cannot be asked; not the job's doing."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the attached ComfyUI lost the run: {reason}")


class AttemptStopped(WorkerError):
    """The attempt was given up because it may not, or need not, go on."""


class TimeLimitReached(WorkerError):
    """The job was stopped because its time was up."""

    def __init__(self, job_id: str, limit_s: float, *, grace_s: float | None = None) -> None:
        """Keep the facts.

        Args:
            grace_s: how long its node was given to yield, which it did not; None: it did, or none ran.
        """
        held = f"; its node did not yield within {grace_s:g} s (FARM_CANCEL_GRACE_S)" if grace_s else ""
        super().__init__(
            f"job {job_id} ran longer than its limit of {limit_s:g} s and was stopped{held}; "
            "submit it with a larger time_limit_s, or make it smaller"
        )
        self.job_id = job_id
        self.limit_s = limit_s
        self.grace_s = grace_s


class BrokenOutput(WorkerError):
    """ComfyUI named a file as its result that is missing, empty or no video."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"output {name} cannot be used: {reason}")
        self.name = name
        self.reason = reason


def describe_exit(code: int) -> str:
    """An exit code in words: ``killed by SIGKILL (out of host memory?)``."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    # The kernel's out-of-memory killer and a container's limit both look like this from outside.
    return f"killed by {name}" + (" (out of host memory?)" if -code == signal.SIGKILL else "")


def last_words(lines: Sequence[str], *, count: int = 8) -> str:
    """The last lines as an appendix to a message; empty when there are none."""
    return "".join(f"\n  | {line}" for line in lines[-count:])
