"""What the server prints, and the last of it for `/internal/logs`."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TextIO

_KEPT_WRITES: Final = 300
_END: Final = "\x1b[0m"
_GREEN: Final = "\x1b[32m"


class Level(StrEnum):
    """How serious a line is; the value is the colour of its tag where tags are coloured."""

    INFO = _GREEN
    WARNING = "\x1b[1m\x1b[33m"
    ERROR = "\x1b[1m\x1b[31m"


class Console:
    """stderr (or stdout), with a memory of the last writes, as ComfyUI's own log capture has."""

    def __init__(
        self, stream: TextIO | None = None, *, colours_levels: bool = False, prefix: str = ""
    ) -> None:
        self._prefix = prefix
        self._stream = stream if stream is not None else sys.stderr
        self._colours_levels = colours_levels
        self._lock = threading.Lock()
        self._writes: deque[dict[str, str]] = deque(maxlen=_KEPT_WRITES)
        self.on_write: Callable[[dict[str, str]], None] | None = None

    def line(self, text: str, level: Level = Level.INFO, *, green: bool = False) -> None:
        """Print what ComfyUI logs: the bare text, or behind a coloured level that only its first line has.

        Args:
            green: the text is coloured as well, where levels are.
        """
        if self._colours_levels:
            text = f"{level}[{level.name}]{_END} " + (f"{_GREEN}{text}{_END}" if green else text)
        self.write(f"{self._prefix}{text}\n")

    def write(self, text: str) -> None:
        """Print text as it is; progress bars begin with a carriage return and end without a line feed."""
        # Local time without a zone: that is how ComfyUI stamps it.
        entry = {"t": datetime.now().isoformat(), "m": text}  # noqa: DTZ005
        with self._lock:
            self._writes.append(entry)
            self._stream.write(text)
            self._stream.flush()
        if self.on_write is not None:
            self.on_write(entry)

    def raw(self) -> dict[str, Any]:
        """The body of ``GET /internal/logs/raw``."""
        with self._lock:
            return {"entries": list(self._writes), "size": {"cols": 80, "rows": 24}}

    def text(self) -> str:
        """The body of ``GET /internal/logs``."""
        with self._lock:
            return "".join(f"{entry['t']} - {entry['m']}" for entry in self._writes)


class StepBar:
    """tqdm's bar for a sampler, as it appears in the log."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._console.write(f"\r  0%|          | 0/{total} [00:00<?, ?it/s]")

    def step(self, done: int, elapsed_s: float) -> None:
        """Draw the bar after `done` steps that took `elapsed_s` in all."""
        share = done / self._total
        rate = done / max(elapsed_s, 1e-6)
        pace = f"{rate:5.2f}it/s" if rate >= 1 else f"{1 / rate:5.2f}s/it"
        left_s = (self._total - done) / rate
        bar = "█" * int(share * 10)
        self._console.write(
            f"\r{share:4.0%}|{bar:<10}| {done}/{self._total} [{_clock(elapsed_s)}<{_clock(left_s)}, {pace}]"
        )

    def close(self) -> None:
        """End the bar's line."""
        self._console.write("\n")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
