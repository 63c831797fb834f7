"""A log of any size, from anywhere, as the facts in it: in one pass, in constant memory, never an error.

What costs is done to lines that say something: the others are passed over by one search in a MiB of them.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import IO, Final, NamedTuple

from comfy.log.facts import BarFact, LogFact, ModuleOnCardFact
from comfy.log.foreign_dress import DATE_OR_NAME, DRESSES, WORDS, Undressed, moment, undress
from comfy.log.lines import GRAVE, HEAD, HEADS, ModelNamer, is_unknown_trouble, read_bar, read_line
from comfy.log.text import LogLevel, PlainLine, plain_lines

_CHUNK: Final = 1 << 20
_LONGEST: Final = 1 << 16  # of a line; the rest of a longer one is left out
_LEAST_SAMPLED: Final = 1 << 16  # bytes; in a smaller block every line may as well be looked at
_SAMPLES: Final = 16
_SHOWN: Final = 400  # characters of a line that are kept as evidence

Log = str | bytes | IO[bytes] | Iterable[bytes] | Iterable[str]


_Told = tuple[str, LogLevel | None, LogFact | None]


class LogEntry(NamedTuple):
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
        self._heads = _HEADS
        self._modules = 0

    def __iter__(self) -> Iterator[LogEntry]:
        for block in _blocks(_utf8(_chunks(self._log))):
            ends = self.lines + block.count(b"\n")
            at = 0
            for found in _telling(_usual_dresses(block), self._heads).finditer(block):
                self.lines += block.count(b"\n", at, found.start() + 1)
                at = found.start() + 1
                end = block.find(b"\n", at)
                yield from self._entries(_cut(block[at : end if end > 0 else None]))
            self.lines = ends

    def _entries(self, line: bytes) -> list[LogEntry]:
        if b"\r" in line:
            line = _last_states(line)
        bare = undress(line)
        if not self._may_tell(bare):
            return []
        stamp = moment(bare.stamp, bare.zone) if bare.stamp is not None else None
        told = (_told_before if len(bare.text) <= _SHOWN else _told)(bare.text, bare.level)
        for _, _, fact in told:
            if fact is not None:
                self.known += not isinstance(fact, BarFact)
                self.stamped += stamp is not None
                if isinstance(fact, ModuleOnCardFact):
                    self._count_module()
        return [
            LogEntry(self.lines, text, stamp, level, fact and self._models.named(fact))
            for text, level, fact in told
        ]

    def _may_tell(self, bare: Undressed) -> bool:
        text = bare.text
        return text[:HEAD] in self._heads or text[:1] in DRESSES or bare.level in _TROUBLE or b"%|" in text

    def _count_module(self) -> None:
        """A log at level DEBUG has hundreds of thousands of such lines, and all say the same."""
        self._modules += 1
        if self._modules == _MODULES_READ:
            self._heads -= {_MODULE_HEAD}


def _told(line: bytes, level: LogLevel | None) -> tuple[_Told, ...]:
    """What an undressed line says, its bars and what is glued to them one by one."""
    text = line.decode("utf-8", "replace")
    # In most lines nothing acts on a terminal: such a one has no colours and is not cut.
    simple = text.isprintable() and "%|" not in text
    found = []
    for plain in (PlainLine(text=text.rstrip()),) if simple else plain_lines(text):
        grade = plain.level or level
        fact = read_bar(plain.text) if "%|" in plain.text else read_line(plain.text)
        if fact is not None or is_unknown_trouble(plain.text, grade):
            found.append((plain.text[:_SHOWN], grade, fact))
    return tuple(found)


# Each prompt and each load says for the most part what the ones before it said.
_told_before: Final = lru_cache(maxsize=1024)(_told)


_HEADS: Final = frozenset(head.encode() for head in HEADS) | {words[:HEAD].encode() for words in GRAVE}
_ALIKE: Final = bytes.maketrans(b"0123456789", b"0000000000")
_TROUBLE: Final = frozenset(level for level in LogLevel if level.is_trouble)


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


def _usual_dresses(block: bytes) -> frozenset[bytes]:
    """What stands before the text in many lines of a block, its digits all the same."""
    if len(block) < _LEAST_SAMPLED:
        return frozenset()
    found: Counter[bytes] = Counter()
    for at in range(0, len(block), len(block) // _SAMPLES):
        start = block.find(b"\n", at) + 1
        line = block[start : start + _LONGEST].partition(b"\n")[0]
        bare = undress(line)
        # One that tells of trouble is looked at, whatever stands in it.
        if bare.level not in _TROUBLE and len(bare.text) < len(line) and line.endswith(bare.text):
            found[line[: len(line) - len(bare.text)].translate(_ALIKE)] += 1
    return frozenset(dress for dress, times in found.items() if times > 1)


@lru_cache(maxsize=64)
def _telling(dresses: frozenset[bytes], heads: frozenset[bytes]) -> re.Pattern[bytes]:
    """Finds the lines that may be facts or complaints; leaves out only what certainly is none.

    All lines come by here, so it is one search in a whole block. Stamps of one log are alike but for their
    digits: a line in a usual dress is told by what stands behind that, any other by how it begins.
    """
    text = b"|".join((_any_of(heads | WORDS | DRESSES), DATE_OR_NAME))
    usual = b"|".join(re.escape(dress).replace(b"0", rb"\d") for dress in sorted(dresses)) or b"(?!)"
    return re.compile(rb"\n(?:(?:%b|(?!%b))(?:%b)|.*%%\|)" % (usual, usual, text))


def _any_of(words: Iterable[bytes]) -> bytes:
    """A pattern for these, which asks for each first letter once."""
    first = {word[:1]: b"" for word in sorted(words)}
    for letter in first:
        first[letter] = b"|".join(re.escape(word[1:]) for word in sorted(words) if word[:1] == letter)
    return b"|".join(b"%b(?:%b)" % (re.escape(letter), rest) for letter, rest in first.items())


def _chunks(log: Log) -> Iterator[bytes]:
    if isinstance(log, str):
        yield from _chunks(log.encode("utf-8", "replace"))
    elif isinstance(log, bytes):
        yield from (log[at : at + _CHUNK] for at in range(0, len(log), _CHUNK))
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


def _blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines, each behind its ``\\n``, so many at a time that a search in them is worth it.

    One of more than 64 KiB is cut short, but for bars, which have no end for hours.
    """
    parts, size = [b"\n"], 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= _CHUNK:
            whole, _, rest = b"".join(parts).rpartition(b"\n")
            if whole:
                yield whole
            parts = [b"\n", _cut(rest)]
            size = len(parts[1])
    yield b"".join(parts).removesuffix(b"\n")


def _cut(line: bytes) -> bytes:
    if len(line) <= _LONGEST:
        return line
    return _last_states(line)[-_LONGEST:] if b"\r" in line else line[:_LONGEST]
