"""Times as people read them, in a report and on a command line."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 200  # characters


def first_words(text: str, longest: int = _LONGEST) -> str:
    """What a message says in a line: tracebacks and tips that follow it are told where they are asked for."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def seconds_words(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
