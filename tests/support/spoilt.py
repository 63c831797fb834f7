"""Values as a stranger would leave them: every text in them, and every key, says something to a terminal."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final

from farm.job import is_job_id

# Renames the window, clears the screen, colours by one byte (C1), opens markup of rich's that nothing closes,
# turns the order of letters round, begins a line that looks like ours, and is no text at all.
HOSTILE: Final = (
    "x\x1b]0;owned\x07\x1b[2J\x9b31m[/nope][red][link=http://evil]\u202egnp\x7f\x00\x08\r\nfarm: all is well"
    "\u2028\udc80"
)
# What can come out of a store: no JSON of pydantic's, and no UTF-8, has half a character.
STORED: Final = HOSTILE.removesuffix("\udc80")
# Whatever makes a terminal do more than show a letter, but for ends of lines and tabs.
ACTS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def spoilt(value: Any) -> Any:
    """A copy whose every text is hostile; ids, enums, numbers and times are as they were."""
    if isinstance(value, str):
        keep = isinstance(value, Enum) or (len(value) == 32 and is_job_id(value))
        return value if keep else f"{STORED}{value}"
    if is_dataclass(value) and not isinstance(value, type):
        made = object.__new__(type(value))
        for each in fields(value):
            object.__setattr__(made, each.name, spoilt(getattr(value, each.name)))
        return made
    if isinstance(value, dict):
        return {spoilt(key): spoilt(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(spoilt, value))
    return value
