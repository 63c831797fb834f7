"""Which process is meant, also after its number has been given to another one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """One process: its number and when it began, in the system's own words."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether it still runs. A zombie does not: its files and ports are free."""
        return _started(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it is gone."""
        with contextlib.suppress(ProcessLookupError), _held(self.pid) as handle:
            # Looked at after it is held: from then on the number cannot pass to another one unnoticed.
            if not self.alive():
                return
            if handle is not None:
                signal.pidfd_send_signal(handle, number)
            else:
                os.kill(self.pid, number)

    def wait_gone(self, timeout_s: float) -> bool:
        """Whether it is gone after at most that time. It need not be a child of ours."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """A handle on whichever process has the number now; None where the system has none to give."""
    try:
        handle = os.pidfd_open(pid) if sys.platform == "linux" else None
    except ProcessLookupError:
        raise
    except OSError:
        handle = None  # a kernel older than 5.3, or a container that forbids it
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def identify(pid: int) -> ProcessId | None:
    """The process that has this number now; None if there is none."""
    started = _started(pid)
    return ProcessId(pid=pid, started=started) if started else None


def _started(pid: int) -> str:
    """When the process began; empty if it does not run."""
    return _started_by_proc(pid) if Path("/proc/self/stat").exists() else _started_by_ps(pid)


def _started_by_proc(pid: int) -> str:
    try:
        # Behind the name, which may hold spaces and brackets: state, …, and start in ticks since boot.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _started_by_ps(pid: int) -> str:
    asked = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = asked.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()
