"""What a row of the table of log lines is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from comfy.generations import Generation, generations_between
from comfy.log.facts import LogFact

# Numbers as Python reads them, no longer than any that means something: ComfyUI's "no limit" has 26 digits.
# What two processes have written over each other ("82.00.45", thousands of digits) is none, nor a part of it.
_NO_MORE: Final = r"(?![.,]?\d|e[+-]?\d)"
NUMBER: Final = rf"\d{{1,30}}(?:\.\d{{1,20}})?(?:e[+-]?\d{{1,2}})?{_NO_MORE}"
COUNT: Final = rf"\d{{1,9}}{_NO_MORE}"
Reader = Callable[[re.Match[str]], LogFact]


class Printer(StrEnum):
    """Whose line it is."""

    COMFYUI = "ComfyUI"
    EDITOR = "ComfyUI_frontend"
    MANAGER = "ComfyUI-Manager"
    AIMDO = "comfy-aimdo"
    TORCH = "torch"
    GGUF = "ComfyUI-GGUF"
    KJNODES = "ComfyUI-KJNodes"
    WRAPPER = "ComfyUI-WanVideoWrapper"
    VHS = "ComfyUI-VideoHelperSuite"
    VFI = "ComfyUI-Frame-Interpolation"
    MULTIGPU = "ComfyUI-MultiGPU"
    HANDLER = "worker-comfyui"
    SYSTEM = "the system"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineForm:
    """One form of a line, and what it says."""

    name: str  # stable
    meaning: str
    begins: tuple[str, ...]  # what the line begins with; none: with a digit
    pattern: re.Pattern[str]  # of the plain text, from its beginning
    read: Reader
    samples: tuple[str, ...]  # one for each beginning, at least
    printer: Printer
    since: str  # first release that prints it; "": not known, or always
    until: str  # last one; "": still does

    @property
    def seen_in(self) -> tuple[Generation, ...]:
        """The generations of ComfyUI whose log has it, the oldest first; of ComfyUI's own lines only."""
        return generations_between(self.since, self.until) if self.printer is Printer.COMFYUI else ()


def form(
    name: str,
    meaning: str,
    begins: str | tuple[str, ...],
    rest: str,
    read: Reader,
    *samples: str,
    by: Printer = Printer.COMFYUI,
    since: str = "",
    until: str = "",
) -> LineForm:
    """A row of the table.

    Args:
        begins: fixed words, by which the row is found; empty for a line that begins with a number.
        rest: a regular expression for what follows.
    """
    words = (begins,) if isinstance(begins, str) and begins else tuple(begins)
    head = "|".join(map(re.escape, words))
    return LineForm(
        name=name,
        meaning=meaning,
        begins=words,
        pattern=re.compile(f"(?:{head}){rest}" if words else rest),
        read=read,
        samples=samples,
        printer=by,
        since=since,
        until=until,
    )
