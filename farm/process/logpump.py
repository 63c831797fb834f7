"""The output of a child process: read, stamped line by line, kept and passed on."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from comfy.log.foreign import one_line
from comfy.log.text import LogLevel, plain_lines
from farm.process.privacy import open_private

log = logging.getLogger(__name__)

LONGEST_LINE_BYTES: Final = 64 * 1024
RETRY_S: Final = 5.0  # between two tries to write a log file again
QUIET_S: Final = 0.1  # after so long a progress bar's state is passed on without its end
_KEPT: Final = 5000  # lines


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line that a child printed, without its end, its colours and the tag of its level."""

    text: str
    wall_s: float  # seconds since 1970, when it was read
    monotonic_s: float
    level: LogLevel | None = None  # None: not told
    stamped: bool = False  # see `comfy.log.text.PlainLine`
    bar: bool = False  # a state of a progress bar, written over the one before it

    @property
    def shown(self) -> str:
        """The line for a person to read, with its level."""
        return one_line(self.text if self.level is None else f"[{self.level}] {self.text}")


class LineSplitter:
    """Cuts a stream of bytes into lines at ``\\n`` and ``\\r``; empty ones are left out.

    A progress bar writes ``\\r`` *before* each state, so that its last state is complete long before
    the byte that ends it: `flush_bar` gives it out early.
    """

    def __init__(self) -> None:
        self._pending = b""
        self._after_cr = False

    def feed(self, data: bytes) -> list[tuple[str, bool]]:
        """The lines that `data` completes, each with whether it is a bar's state."""
        lines = []
        for piece in (self._pending + data).replace(b"\r\n", b"\n").splitlines(keepends=True):
            self._pending = b""
            if piece[-1:] not in b"\r\n" and len(piece) < LONGEST_LINE_BYTES:
                self._pending = piece
                continue
            lines.append((piece.rstrip(b"\r\n"), self._after_cr or piece.endswith(b"\r")))
            self._after_cr = piece.endswith(b"\r")
        return [(_decode(text), bar) for text, bar in lines if text.strip()]

    def flush_bar(self) -> list[tuple[str, bool]]:
        """The unfinished line, if it is a bar's state; what follows without a ``\r`` is none."""
        if not self._after_cr or not self._pending.strip():
            return []
        state = self.flush()
        self._after_cr = False
        return state

    def flush(self) -> list[tuple[str, bool]]:
        """The unfinished line."""
        pending, self._pending = self._pending, b""
        return [(_decode(pending), self._after_cr)] if pending.strip() else []


class LogPump:
    """A thread that reads a pipe to its end; the last lines are kept, `on_line` gets each one.

    The thread must never stop reading: a child whose output nobody takes stands still.
    """

    def __init__(
        self,
        pipe: IO[bytes],
        *,
        name: str,
        on_line: Callable[[LogLine], None] | None = None,
        file: LogFile | None = None,
    ) -> None:
        self._pipe = pipe
        self._on_line = on_line
        self._file = file
        self._kept: deque[LogLine] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._name = name
        self._thread = threading.Thread(target=self._pump, name=f"log of {name}", daemon=True)
        self._thread.start()

    def lines_since(self, monotonic_s: float) -> list[LogLine]:
        """The kept lines that came at or after that moment."""
        with self._lock:
            return [line for line in self._kept if line.monotonic_s >= monotonic_s]

    def tail(self, count: int) -> list[LogLine]:
        """The last lines, at most `count`."""
        with self._lock:
            return list(self._kept)[-count:]

    def join(self, timeout_s: float) -> None:
        """Wait until all that was printed has been passed on."""
        self._thread.join(timeout_s)

    def _pump(self) -> None:
        splitter = LineSplitter()
        descriptor = self._pipe.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while True:
            if not poll.poll(QUIET_S * 1000):
                self._take(splitter.flush_bar())
                poll.poll()
            data = os.read(descriptor, 65536)
            if not data:
                break
            self._take(splitter.feed(data))
        self._take(splitter.flush())
        self._pipe.close()
        if self._file is not None:
            self._file.close()

    def _take(self, lines: list[tuple[str, bool]]) -> None:
        for line in (line for text, bar in lines for line in _stamped(text, bar=bar)):
            with self._lock:
                self._kept.append(line)
            try:
                if self._file is not None:
                    self._file.write(line)
                if self._on_line is not None:
                    self._on_line(line)
            except Exception:
                log.exception(
                    "A line of output could not be passed on",
                    extra={"event": "log_line_failed", "child": self._name},
                )


class LogFile:
    """A file of stamped lines; a full one is renamed to ``.1``, ``.2``, …

    While it cannot be written (a full disk), lines are counted and left out; it is tried again every few
    seconds, and the first line after that says how many are missing.
    """

    def __init__(self, path: Path, *, limit_bytes: int = 20 * 2**20, keep: int = 3) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._limit_bytes = limit_bytes
        self._keep = keep
        self._file: IO[bytes] | None = _opened(path)
        self._failed_at_s: float | None = None  # monotonic; None while it can be written
        self._missing = 0

    def write(self, line: LogLine) -> None:
        """Add a line; a failure is logged once, and the child goes on."""
        if self._failed_at_s is not None and line.monotonic_s - self._failed_at_s < RETRY_S:
            self._missing += 1
            return
        try:
            if self._failed_at_s is not None:
                self._begin_again(line)
            if self._file is not None:
                self._put(line.wall_s, line.shown)
        except OSError as exc:
            self._missing += 1
            self._give_up(line.monotonic_s, exc)

    def _begin_again(self, line: LogLine) -> None:
        self.close()
        self._file = _opened(self._path)
        self._file.write(b"\n")  # the last line before may have been cut off
        self._put(line.wall_s, f"({self._missing} lines are missing here: the file could not be written)")
        self._failed_at_s, self._missing = None, 0
        log.info("Log file is written again", extra={"event": "log_file_back", "path": str(self._path)})

    def _give_up(self, now_s: float, exc: OSError) -> None:
        if self._failed_at_s is None:
            log.warning(
                "Log file cannot be written",
                extra={"event": "log_file_failed", "path": str(self._path), "reason": str(exc)},
            )
        self._failed_at_s = now_s

    def _put(self, wall_s: float, text: str) -> None:
        if self._file is None:
            return
        stamp = datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")
        self._file.write(f"{stamp} {text}\n".encode())
        if self._file.tell() >= self._limit_bytes:
            self._rotate()

    def close(self) -> None:
        """Close the file; further lines are dropped."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = _opened(self._path)


def _opened(path: Path) -> IO[bytes]:
    return open(path, "ab", buffering=0, opener=open_private)  # Path.open takes no opener


def _stamped(printed: str, *, bar: bool) -> list[LogLine]:
    wall_s, monotonic_s = time.time(), time.monotonic()
    return [
        LogLine(
            text=line.text,
            wall_s=wall_s,
            monotonic_s=monotonic_s,
            level=line.level,
            stamped=line.stamped,
            bar=bar and number == 0,
        )
        for number, line in enumerate(plain_lines(printed))
    ]


def _decode(data: bytes) -> str:
    return data.rstrip().decode("utf-8", "replace")
