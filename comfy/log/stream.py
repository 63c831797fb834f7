"""A log of any size, from anywhere, as the facts in it: in one pass, in constant memory, never an error.

What costs is done to lines that say something: the others are told by their first bytes and left alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from comfy.log.facts import BarFact, LogFact, ModuleOnCardFact
from comfy.log.foreign_dress import DRESSES, MONTHS, Undressed, moment, undress
from comfy.log.lines import GRAVE, HEAD, HEADS, ModelNamer, is_unknown_trouble, read_bar, read_line
from comfy.log.text import LogLevel, PlainLine, plain_lines

_CHUNK: Final = 1 << 20
_LONGEST: Final = 1 << 16  # of a line; the rest of a longer one is left out
_SHOWN: Final = 400  # characters of a line that are kept as evidence

Log = str | bytes | IO[bytes] | Iterable[bytes] | Iterable[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A line that says something, or that ought to be understood and is not."""

    number: int  # of the line, from 1
    text: str  # undressed, shortened
    at_s: float | None  # its stamp; None: it has none
    level: LogLevel | None
    fact: LogFact | None  # None: a warning or error that nobody knows


class LogStream:
    """Iterates over a log's entries; `lines` and `known` count while it does."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.lines = 0  # all, blank ones and bars included
        self.known = 0  # those that were read as facts
        self.stamped = 0  # of the known, those that have a stamp
        self._models = ModelNamer()
        self._heads = set(_HEADS)
        self._dressed = 0  # bytes that stand before the text in the lines of now
        self._dress = b""  # those bytes, their digits all the same
        self._modules = 0

    def __iter__(self) -> Iterator[LogEntry]:
        for block in _blocks(_utf8(_chunks(self._log))):
            before = self.lines
            for number, line in self._telling(block):
                self.lines = before + number
                yield from self._entries(line)
            self.lines = before + len(block)

    def _telling(self, block: list[bytes]) -> Iterator[tuple[int, bytes]]:
        """The lines that may be facts or complaints; leaves out only what certainly is none.

        All lines come by here, so nothing is called for most of them. Stamps of one log are alike but for
        their digits: a line with the dress of the one before begins where that one did.
        """
        heads, first, months, alike = self._heads, DRESSES, MONTHS, _ALIKE
        for number, line in enumerate(block, 1):
            if (at := self._dressed) and line[:at].translate(alike) == self._dress:
                tells = line[at : at + HEAD] in heads or line[at : at + 1] in first
            else:
                tells = line[:HEAD] in heads or (
                    (line[:1] in first or line[:HEAD] in months or line.find(b"| ", 1, 80) > 0)
                    and self._dresses(line)
                )
            if tells or b"%|" in line:
                yield number, line

    def _dresses(self, line: bytes) -> bool:
        """Whether a line says something once it is undressed."""
        bare = self._undress(line)
        text = bare.text
        return bare.level in _TROUBLE or text[:HEAD] in self._heads or text[:1] in DRESSES

    def _undress(self, line: bytes) -> Undressed:
        bare = undress(line)
        # One that tells of trouble is looked at, whatever stands in it.
        if bare.level not in _TROUBLE and len(bare.text) < len(line) and line.endswith(bare.text):
            self._dressed = len(line) - len(bare.text)
            self._dress = line[: self._dressed].translate(_ALIKE)
        return bare

    def _entries(self, line: bytes) -> Iterator[LogEntry]:
        if b"\r" in line:
            line = _last_states(line)
        bare = self._undress(line)
        stamp = moment(bare.stamp, bare.zone) if bare.stamp is not None else None
        text = bare.text.decode("utf-8", "replace")
        # Nothing in it acts on a terminal: there is one line, without colours.
        simple = text.isprintable() and "%|" not in text
        for plain in (PlainLine(text=text.rstrip()),) if simple else plain_lines(text):
            entry = self._entry(plain, bare, stamp)
            if entry is not None:
                yield entry

    def _entry(self, plain: PlainLine, bare: Undressed, stamp: float | None) -> LogEntry | None:
        level = plain.level or (LogLevel(bare.level) if bare.level else None)
        fact = read_bar(plain.text) if "%|" in plain.text else read_line(plain.text)
        if fact is None:
            if not is_unknown_trouble(plain.text, level):
                return None
        else:
            self.known += not isinstance(fact, BarFact)
            self.stamped += stamp is not None
            fact = self._models.named(fact)
            if isinstance(fact, ModuleOnCardFact):
                self._count_module()
        return LogEntry(number=self.lines, text=plain.text[:_SHOWN], at_s=stamp, level=level, fact=fact)

    def _count_module(self) -> None:
        """A log at level DEBUG has hundreds of thousands of such lines, and all say the same."""
        self._modules += 1
        if self._modules == _MODULES_READ:
            self._heads.discard(_MODULE_HEAD)


_HEADS: Final = frozenset(head.encode() for head in HEADS) | {words[:HEAD].encode() for words in GRAVE}
_ALIKE: Final = bytes.maketrans(b"0123456789", b"0000000000")
_TROUBLE: Final = frozenset(level.value for level in LogLevel if level.is_trouble)


_MODULES_READ: Final = 100
_MODULE_HEAD: Final = b"low"
_ENDS_OF_BARS: Final = (b"it/s]", b"s/it]")


def _last_states(line: bytes) -> bytes:
    """Of a progress bar its beginning, its first step and its end; whatever else stands there stays."""
    *pieces, last = line.split(b"\r")
    kept = [
        piece
        for piece in pieces
        if piece.rstrip()[-5:] not in _ENDS_OF_BARS
        or b"| 1/" in piece
        or b"| 0/" in piece
        or b"%|" not in piece
    ]
    if not last.strip() and pieces:
        kept.append(pieces[-1])
    return b"\r".join((*kept, last))


def _chunks(log: Log) -> Iterator[bytes]:
    if isinstance(log, str):
        yield log.encode("utf-8", "replace")
    elif isinstance(log, bytes):
        yield log
    elif hasattr(log, "read"):
        while data := log.read(_CHUNK):
            yield data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")
    else:
        for piece in log:
            if isinstance(piece, bytes):
                yield piece
            else:
                # Lines, as `splitlines` or a file opened as text gives them.
                yield (piece if piece.endswith("\n") else piece + "\n").encode("utf-8", "replace")


def _utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same as UTF-8: what PowerShell's ``>`` writes is UTF-16, with a mark at its beginning."""
    first = next(chunks, b"")
    if first[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    yield decoder.decode(first).encode("utf-8", "replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")


def _blocks(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Lists of lines; one of more than 64 KiB is cut short, but for bars, which have no end for hours."""
    pending = b""
    for chunk in chunks:
        lines = (pending + chunk).split(b"\n")
        pending = _cut(lines.pop())
        yield lines if max(map(len, lines), default=0) <= _LONGEST else [_cut(line) for line in lines]
    if pending:
        yield [pending]


def _cut(line: bytes) -> bytes:
    if len(line) <= _LONGEST:
        return line
    return _last_states(line)[-_LONGEST:] if b"\r" in line else line[:_LONGEST]
