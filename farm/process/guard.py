"""Runs one command and sees to it that nothing of it outlives the process that asked for it.

Started by `farm.process.child` as ``python -I -S guard.py OWNER REPORT GRACE USER COMMAND…``; it uses the
standard library only. Its standard input is the lifeline, a pipe whose other end the owner holds: a line
``stop SECONDS`` on it is an order, and its end means that the owner is gone, by whatever death. USER is
``UID:GID:GROUP,GROUP`` or ``-``: whom the command runs as; the guard does not, so that it can still end it.

PDEATHSIG alone would not do: it fires when the *thread* that started a process ends, and it reaches
one process, not what that has started in turn. Here a process with a single thread does the starting,
and all that the command leaves behind becomes a child of that process, and is ended with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable

LOOK_AGAIN_S = 2.0  # a fork of the owner can hold the lifeline open, so its death is looked for as well
LEFTOVER_GRACE_S = 2.0  # for what a command that ended by itself has left behind
KILL_PATIENCE_S = 10.0  # a process inside a driver call dies late, one that hangs there never does

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
CAP_SYS_NICE = 23
LIFELINE = 0
CANNOT_RUN = 127
NOBODY_ELSE = "-"
RESTORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)


def main(owner: int, report: int, grace_s: float, user: str, command: list[str]) -> int:
    """Run the command, keep watch, clear up; the exit code to end with."""
    os.set_inheritable(report, False)
    guard = Guard(owner=owner, grace_s=grace_s)
    error = guard.start(command, user)
    os.write(report, f"error {error}\n".encode() if error else f"pid {guard.pid}\n".encode())
    os.close(report)
    return CANNOT_RUN if error else _end_like(guard.watch())


class Guard:
    """One command, its process group, and whatever else it started."""

    def __init__(self, *, owner: int, grace_s: float) -> None:
        self.pid = 0
        self._owner = owner
        self._grace_s = grace_s
        self._status: int | None = None  # wait status of the command, once it has ended
        self._deadline: float | None = None  # when the killing begins, once somebody wants the end
        self._wakeup = _watch_signals()
        self._poll = select.poll()
        self._poll.register(self._wakeup, select.POLLIN)
        self._poll.register(LIFELINE, select.POLLIN)

    def start(self, command: list[str], user: str) -> int:
        """Start the command; an errno, or 0 when it runs."""
        prctl = _prctl()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_DUMPABLE, 0)  # its environment is the command's, which may hold secrets
        failure, tell = os.pipe()
        myself = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_become(command, user, guard=myself, prctl=prctl, tell=tell))
        os.close(tell)
        error = os.read(failure, 16)  # ends when the command has replaced the fork
        os.close(failure)
        # Whoever reads the command's output waits for the last writer to close it.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        return int(error or 0)

    def watch(self) -> int:
        """Wait until the command and all that it started are gone; its wait status."""
        asked_leftovers = False
        while True:
            self._reap()
            if self._status is not None and not asked_leftovers:
                asked_leftovers = True
                self._end_within(LEFTOVER_GRACE_S)
                _signal_each(_descendants(), signal.SIGTERM)
                self._reap()
            if self._status is not None and not _descendants():
                return self._status
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return self._kill_all()
            self._wait_for_news()

    def _wait_for_news(self) -> None:
        until_s = LOOK_AGAIN_S
        if self._deadline is not None:
            until_s = min(until_s, max(self._deadline - time.monotonic(), 0.0))
        ready = dict(self._poll.poll(until_s * 1000))
        if self._wakeup in ready and signal.SIGTERM in os.read(self._wakeup, 64):
            self._stop(self._grace_s)
        if LIFELINE in ready:
            self._obey(os.read(LIFELINE, 1024))
        if os.getppid() != self._owner and self._deadline is None:
            self._stop(self._grace_s)

    def _obey(self, orders: bytes) -> None:
        for line in orders.splitlines():
            self._stop(float(line.removeprefix(b"stop ")))
        if not orders:  # the owner is gone
            self._poll.unregister(LIFELINE)
            self._stop(self._grace_s)

    def _stop(self, grace_s: float) -> None:
        # Once only: to some programs (a Redis server) a second SIGTERM means "drop everything".
        if self._deadline is None and grace_s > 0:
            self._signal_group(signal.SIGTERM)
        self._end_within(grace_s)

    def _end_within(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        # A later order can only shorten what an earlier one left.
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _kill_all(self) -> int:
        patience = time.monotonic() + KILL_PATIENCE_S
        while time.monotonic() < patience:
            self._signal_group(signal.SIGKILL)
            _signal_each(_descendants(), signal.SIGKILL)
            self._reap()
            if self._status is not None and not _descendants():
                break
            time.sleep(0.01)
        return self._status if self._status is not None else signal.SIGKILL

    def _signal_group(self, number: signal.Signals) -> None:
        if self._status is not None:
            return  # it has been waited for: its number may be somebody else's by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
                if ended[0] == self.pid:
                    self._status = ended[1]


def _become(
    command: list[str], user: str, *, guard: int, prctl: Callable[[int, int], object], tell: int
) -> int:
    try:
        os.setsid()
        _renounce_real_time(prctl)
        if user != NOBODY_ELSE:
            _change_to(user)
            prctl(PR_SET_NO_NEW_PRIVS, 1)  # no `sudo` leads back
        # After the change of user, which takes it back.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before the line above took effect
            return CANNOT_RUN
        # A shell that starts something with `&` has it ignore SIGINT, and that is inherited.
        for number in RESTORED:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)  # noqa: S606  # replacing this process is the point
    except OSError as exc:
        os.write(tell, str(exc.errno).encode())
    return CANNOT_RUN


def _renounce_real_time(prctl: Callable[[int, int], object]) -> None:
    """What is started must keep no processor from who watches over it, as SVT-AV1 does where it may."""
    prctl(PR_CAPBSET_DROP, CAP_SYS_NICE)  # of which root gets none back when it replaces its program
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox without such a limit
            resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))


def _change_to(user: str) -> None:
    uid, gid, groups = user.split(":")
    os.setgroups([int(group) for group in groups.split(",")])
    os.setgid(int(gid))
    os.setuid(int(uid))


def _watch_signals() -> int:
    """Descriptor on which the number of each signal arrives as a byte."""
    wakeup, note = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(note, False)
    signal.set_wakeup_fd(note, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):  # meant for the owner, who will tell us
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return wakeup


def _prctl() -> Callable[[int, int], object]:
    if sys.platform != "linux":
        return lambda _option, _value: 0
    function = ctypes.CDLL(None).prctl
    return lambda option, value: function(option, ctypes.c_ulong(value), 0, 0, 0)


def _descendants() -> set[int]:
    """Process ids of all that descends from this process; empty where there is no /proc."""
    parents: dict[int, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib is slow to import
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def _signal_each(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _end_like(status: int) -> int:
    """Die of the same signal as the command did, or give its exit code."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its own core, if any, is the one of interest
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5:]))
