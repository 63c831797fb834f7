"""A child process that dies with this one, whatever happens to either."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from farm.errors import FarmError
from farm.process.guard import NOBODY_ELSE
from farm.process.logpump import LogFile, LogLine, LogPump
from farm.process.privacy import PRIVATE_UMASK
from farm.process.user import UnixUser

log = logging.getLogger(__name__)

GUARD: Final = Path(__file__).with_name("guard.py")
START_TIMEOUT_S: Final = 60.0  # for an interpreter to come up on a busy machine
LINES_SHOWN: Final = 8
DRIVER_PATIENCE_S: Final = 15.0  # beyond the grace: what the guard itself may need after SIGKILL


class ChildNotStarted(FarmError):
    """A command could not be run at all; `errno` is what the system said, 0 if it said nothing."""

    def __init__(self, name: str, command: Sequence[str], reason: str, *, number: int = 0) -> None:
        super().__init__(f"{name} cannot be started: {command[0]}: {reason}")
        self.name = name
        self.command = tuple(command)
        self.reason = reason
        self.errno = number


class Child:
    """One running command and all that it starts, as a unit that ends together.

    When this process ends, by SIGKILL too, the command gets SIGTERM, `grace_s` seconds, and then
    SIGKILL, and so does every process that it has started. Any thread may start and stop one.
    """

    def __init__(self, guard: subprocess.Popen[bytes], pid: int, name: str, output: LogPump) -> None:
        self.pid = pid  # of the command itself, which leads a session and a process group of its own
        self.name = name
        self.output = output
        self._guard = guard
        self._ended = threading.Event()
        self._code: int | None = None
        self._on_exit: Callable[[int], None] | None = None

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        on_line: Callable[[LogLine], None] | None = None,
        on_exit: Callable[[int], None] | None = None,
        log_file: Path | None = None,
        grace_s: float = 10.0,
        user: UnixUser | None = None,
    ) -> Self:
        """Run a command in a session of its own, its standard input empty; its files are for its user alone.

        Args:
            name: what people and logs call it.
            env: its whole environment; default: this process's.
            on_line: called in a thread for each line of its output (stdout and stderr together).
            on_exit: called in a thread with its exit code, after its last line.
            log_file: its output goes there too, each line with its time.
            grace_s: what it has between SIGTERM and SIGKILL when this process dies.
            user: whom it runs as; default: as this process does.

        Raises:
            ChildNotStarted: no such program or folder, not executable, …
            OSError: `log_file` cannot be written.
        """
        file = LogFile(log_file) if log_file is not None else None
        try:
            guard, report = _start_guard(command, name, env=env, cwd=cwd, grace_s=grace_s, user=user)
        except ChildNotStarted:
            if file is not None:
                file.close()
            raise
        assert guard.stdout is not None  # noqa: S101  # it was asked for
        output = LogPump(guard.stdout, name=name, on_line=on_line, file=file)
        pid = _read_report(report, guard, command, name, output)
        child = cls(guard, pid, name, output)
        child._on_exit = on_exit
        threading.Thread(target=child._watch, name=f"watch of {name}", daemon=True).start()
        return child

    def poll(self) -> int | None:
        """Its exit code (negative: the signal that ended it), or None while it runs."""
        return self._code

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code, once it and all that it started are gone.

        Raises:
            TimeoutError: it still runs.
        """
        if not self._ended.wait(timeout_s):
            raise TimeoutError(f"{self.name} (process {self.pid}) still runs after {timeout_s} s")
        assert self._code is not None  # noqa: S101  # set before the event
        return self._code

    def stop(self, *, grace_s: float = 10.0) -> int:
        """Ask it to exit, then make it; its exit code. With `grace_s` 0 it is not asked."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
                self._guard.stdin.write(f"stop {grace_s}\n".encode())
        with contextlib.suppress(TimeoutError):
            return self.wait(grace_s + DRIVER_PATIENCE_S)
        # The guard itself does not get on (stopped, or starved): its death takes the command along.
        log.error("Child does not end", extra={"event": "child_stuck", "child": self.name, "pid": self.pid})
        # Stopped, it has not waited for the command, whose number is nobody else's until then.
        if self._guard.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._guard.kill()
        return self.wait(DRIVER_PATIENCE_S)

    def end_in_words(self, code: int) -> str:
        """How it ended, with its last lines, for a person."""
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{self.name} {how}{self.last_words()}"

    def last_words(self) -> str:
        """Its last lines, ready to be put behind a sentence."""
        lines = [line.text for line in self.output.tail(LINES_SHOWN)]
        return "; its last lines:\n  " + "\n  ".join(lines) if lines else "; it printed nothing"

    def kill(self) -> int:
        """Make it end at once; its exit code."""
        return self.stop(grace_s=0.0)

    def _watch(self) -> None:
        code = self._guard.wait()
        self.output.join(2.0)  # so that its last words are there when its end is told
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
        self._code = code
        self._ended.set()
        if self._on_exit is not None:
            try:
                self._on_exit(code)
            except Exception:
                log.exception(
                    "Handling the end of a child failed",
                    extra={"event": "child_exit_failed", "child": self.name},
                )


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port for a server that is about to start; for a minute the system gives it to nobody else.

    A connection that ended there keeps it: only who names the port and sets SO_REUSEADDR, as servers do,
    gets it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server, socket.socket(family) as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, 0))
        server.listen(1)
        client.connect(server.getsockname())
        server.accept()[0].close()  # before the client does: who closes first is who lingers in TIME_WAIT
        return int(server.getsockname()[1])


def _start_guard(
    command: Sequence[str],
    name: str,
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    grace_s: float,
    user: UnixUser | None,
) -> tuple[subprocess.Popen[bytes], int]:
    report, tell = os.pipe()
    who = NOBODY_ELSE if user is None else user.as_argument
    try:
        guard = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(GUARD),
                str(os.getpid()),
                str(tell),
                str(grace_s),
                who,
                *command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=env,
            cwd=cwd,
            pass_fds=(tell,),
            umask=PRIVATE_UMASK,
            start_new_session=True,  # a Ctrl-C in our terminal must not take the guard first
        )
    except OSError as exc:
        os.close(report)
        raise ChildNotStarted(
            name, command, f"{exc.strerror}: {exc.filename}", number=exc.errno or 0
        ) from exc
    finally:
        os.close(tell)
    return guard, report


def _read_report(
    report: int, guard: subprocess.Popen[bytes], command: Sequence[str], name: str, output: LogPump
) -> int:
    """Process id of the command, as the guard tells it."""
    said = _read_line(report, time.monotonic() + START_TIMEOUT_S)
    word, _, value = said.partition(" ")
    if word == "pid":
        return int(value)
    guard.kill()
    guard.wait()
    output.join(2.0)
    if guard.stdin is not None:
        guard.stdin.close()
    if word == "error":
        number = int(value)
        raise ChildNotStarted(name, command, _advice(number), number=number)
    words = "; ".join(line.text for line in output.tail(5)) or "no answer"
    raise ChildNotStarted(name, command, f"its guard failed: {words}")


def _read_line(descriptor: int, until: float) -> str:
    data = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        while not data.endswith(b"\n") and poll.poll(max(until - time.monotonic(), 0.0) * 1000):
            piece = pipe.read(256)
            if not piece:
                break
            data += piece
    return data.decode().strip()


def _advice(number: int) -> str:
    known = {
        errno.ENOENT: "there is no such program",
        errno.EACCES: "it is not executable for this user",
        errno.ENOEXEC: "it is no program for this machine",
    }
    return known.get(number, os.strerror(number))
