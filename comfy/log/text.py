"""What ComfyUI printed becomes lines of plain text, each with its level: the one place that knows the dress.

Since 0.23.0 each message begins with a coloured tag (``ESC[32m[INFO]ESC[0m ``), into pipes and files too; the
file of a second ``--verbose`` has a date before it, and no colours. Before that, messages were bare.
Source: ComfyUI app/logger.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class LogLevel(StrEnum):
    """How grave the writer found it, mildest first."""

    DEBUG = "DEBUG"
    DETAIL = "DETAIL"  # ComfyUI's own, since 0.30.0
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"

    @property
    def is_trouble(self) -> bool:
        """Whether a person should hear of it."""
        return self in (LogLevel.WARNING, LogLevel.ERROR, LogLevel.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainLine:
    """One line without colours, tag and end."""

    text: str  # never blank
    level: LogLevel | None = (
        None  # None: not told, as in old versions and in all lines of a message but the first
    )
    # Whether the level was told in colour, as the server's own loggers do: no text of a job has an escape.
    # It is of the dress, and makes no other line.
    stamped: bool = field(default=False, compare=False)


_COLOUR: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A bar has no end of line before the next one starts: what is written meanwhile stands right behind it.
# A line that only quotes a bar, such as a worker's own log in JSON, stays whole.
_BAR: Final = re.compile(
    r"""((?<![^\r\n])[^\r\n|"]*\d%\|[^\r\n|]*\|\s*[\d.]+\w*/[\d.]+\w* \[[\d:]+<[^\]\r\n]*\])(?=[^\r\n])"""
)
_BAR_MARK: Final = "%|"
# Its end is gone where a page took what stands behind its "<" for a mark of its own.
_CUT_BAR: Final = re.compile(r"(\d%\|[^\]\r\n]*)(?=!!! Exception during processing)")
_GLUED: Final = re.compile(r"\][^\r\n]")  # without it no bar can have anything behind it
_TAG_INSIDE: Final = re.compile(
    rf"(?=(?<!m)(?:\x1b\[[0-9;]*m)+\[(?:{'|'.join(LogLevel)})\]\x1b\[0m(?:\s|$))",
)
_TAG: Final = re.compile(
    rf"(?:\[\d{{4}}-\d\d-\d\d[ T][\d:,.]+\] )?\[(?P<level>{'|'.join(LogLevel)})\](?: |$)",
)
_ENDS: Final = re.compile(r"\r\n|\r|\n")


def plain_lines(printed: str) -> list[PlainLine]:
    """Cut what was printed at each ``\\r`` and ``\\n``, and undress each piece; blank ones are left out."""
    if _BAR_MARK in printed:
        printed = _CUT_BAR.sub(r"\1\n", printed)
    ended = _ENDS.split(_BAR.sub(r"\1\n", printed) if _GLUED.search(printed) else printed)
    coloured = "\x1b" in printed
    pieces = (piece for line in ended for piece in _TAG_INSIDE.split(line)) if coloured else ended
    lines = (_undress(piece) for piece in pieces)
    return [line for line in lines if line.text]


def _undress(piece: str) -> PlainLine:
    text = (_COLOUR.sub("", piece) if "\x1b" in piece else piece).rstrip()
    tag = _TAG.match(text)
    if tag is None:
        return PlainLine(text=text)
    stamped = piece.lstrip().startswith("\x1b[")
    return PlainLine(text=text[tag.end() :], level=LogLevel(tag["level"]), stamped=stamped)
