"""Small pictures on a terminal that can show them, in one of three ways.

Which way follows from the terminal's variables alone. It is never asked: a terminal that does not know the
question would print it, and one that answers late would type into the shell. The picture is decoded and
encoded anew, so nothing of what a node has sent reaches the terminal.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from rich.console import Console, ConsoleOptions
from rich.segment import ControlType, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS: Final = 8  # of the terminal
_PIXELS: Final = (400, ROWS * 16)  # width and height at most; a row has about so many where none are told
_MOST_PIXELS: Final = 4096 * 4096  # of what a node sends
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_KITTY_ID: Final = 7070  # one picture, which each new one replaces
_KITTY_PIECE: Final = 4096  # characters of one piece, by the protocol
_COLOURS: Final = 64  # of sixel: enough for a look


class Way(StrEnum):
    """How a terminal takes a picture."""

    KITTY = "kitty"  # https://sw.kovidgoyal.net/kitty/graphics-protocol/
    ITERM = "iterm"  # https://iterm2.com/documentation-images.html
    SIXEL = "sixel"  # VT330/VT340 Programmer Reference, chapter 14


def way_of(environ: Mapping[str, str]) -> Way | None:
    """How the terminal with these variables takes pictures; None: it does not, or nobody knows."""
    # Between us and the terminal stands a program that keeps a picture of its own of the screen.
    if any(environ.get(name) for name in ("TMUX", "STY", "ZELLIJ")):
        return None
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return Way.KITTY
    if program in ("iTerm.app", "WezTerm") or environ.get("LC_TERMINAL") == "iTerm2":
        return Way.ITERM
    if term.partition("-")[0] in ("foot", "mlterm") or "sixel" in term:
        return Way.SIXEL
    return None


def drawn(way: Way, picture: bytes) -> str:
    """What makes the terminal show a picture at its cursor; empty for a bad one, and without Pillow."""
    image = _opened(picture)
    if image is None:
        return ""
    match way:
        case Way.KITTY:
            return "".join(_kitty(base64.b64encode(_png(image)).decode()))
        case Way.ITERM:
            data = base64.b64encode(_png(image)).decode()
            return f"\x1b]1337;File=inline=1;height={ROWS};preserveAspectRatio=1:{data}\x07"
        case Way.SIXEL:
            return "".join(_sixel(image))


class Cleared:
    """Takes the picture away again, where text does not do that."""

    def __init__(self, way: Way) -> None:
        self._sequence = f"\x1b_Ga=d,d=I,i={_KITTY_ID},q=2\x1b\\" if way is Way.KITTY else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        yield _as_it_is(self._sequence)


class Picture:
    """A picture as a block of lines; the cursor is where it was, afterwards."""

    def __init__(self, sequence: str) -> None:
        self._sequence = sequence

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        yield from [Segment.line()] * ROWS
        # Behind its lines, which would erase it: back up, draw, and return.
        yield _as_it_is(f"\x1b7\x1b[{ROWS}A\r{self._sequence}\x1b8")


def _as_it_is(sequence: str) -> Segment:
    """For the terminal, not for the page: it has no width, and passes where text that acts would not."""
    return Segment(sequence, None, [(ControlType.CARRIAGE_RETURN,)])


def _opened(picture: bytes) -> Image | None:
    try:
        from PIL import Image
    except ModuleNotFoundError:  # a producer alone has none
        return None
    try:
        with Image.open(io.BytesIO(picture), formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            image.thumbnail(_PIXELS)
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's, of bad files
        return None


def _png(image: Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _kitty(data: str) -> Iterator[str]:
    pieces = [data[at : at + _KITTY_PIECE] for at in range(0, len(data), _KITTY_PIECE)]
    for number, piece in enumerate(pieces):
        more = int(number < len(pieces) - 1)
        head = f"a=T,f=100,i={_KITTY_ID},p=1,r={ROWS},C=1,q=2,m={more}" if number == 0 else f"m={more}"
        yield f"\x1b_G{head};{piece}\x1b\\"


def _sixel(image: Image) -> Iterator[str]:
    """Bands of six lines; in each, a row of signs for each colour, one bit a line."""
    paletted = image.quantize(_COLOURS)
    palette = paletted.getpalette() or []
    width, height = paletted.size
    pixels = paletted.tobytes()
    yield f'\x1bPq"1;1;{width};{height}'
    for colour in range(len(palette) // 3):
        red, green, blue = (round(each * 100 / 255) for each in palette[3 * colour : 3 * colour + 3])
        yield f"#{colour};2;{red};{green};{blue}"
    for top in range(0, height, 6):
        lines = [pixels[(top + each) * width :][:width] for each in range(min(6, height - top))]
        for colour in sorted({each for line in lines for each in line}):
            yield f"#{colour}"
            for at in range(width):
                yield chr(63 + sum(1 << bit for bit, line in enumerate(lines) if line[at] == colour))
            yield "$"
        yield "-"
    yield "\x1b\\"
