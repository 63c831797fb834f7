"""Text that others wrote, made fit for a terminal or a log file: what would act there becomes a symbol.

A title, a node's id or a line of a log may hold escape sequences, which move the cursor or rename the window;
characters that reverse the order of what is read; and ends of lines, by which one record looks like two.
Each of them becomes one other character, so that widths stay as they were. JSON keeps them, escaped.
"""

from __future__ import annotations

import json
import re
import sys
from io import TextIOWrapper
from typing import Any, Final

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_ENDS_OF_LINES: Final = "\n\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"
# Source: Unicode Standard Annex #9, table 4; what they do in a source or a name: CVE-2021-42574.
_DIRECTIONS: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_C1: Final = "".join(map(chr, range(0x80, 0xA0)))

_SYMBOLS: Final = {
    **dict.fromkeys(map(ord, _C1 + _DIRECTIONS + _ENDS_OF_LINES[1:]), _REPLACEMENT),
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT),  # no text at all, and no encoding takes it
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\N{SYMBOL FOR DELETE}",
}
_MANY_LINES: Final = {code: symbol for code, symbol in _SYMBOLS.items() if chr(code) not in "\n\t"}
# What JSON leaves as it is, and a terminal does not.
_RAW_IN_JSON: Final = re.compile(f"[\x7f{_C1}{_DIRECTIONS}{_ENDS_OF_LINES[1:]}\ud800-\udfff]")


def plain(text: str) -> str:
    """The text with its lines and tabs, and a symbol for whatever else is none."""
    return text.translate(_MANY_LINES)


def one_line(text: str) -> str:
    """The same in one line: ends of lines and tabs are symbols too."""
    return text.translate(_SYMBOLS)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that may be printed: it says the same, and nothing in it acts on a terminal."""
    text = json.dumps(value, default=str, ensure_ascii=False, indent=indent)
    return _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def forgive_encodings() -> None:
    """Where the letters of stdout or stderr are too few, "×" becomes "?": no reason to end."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
