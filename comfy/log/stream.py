"""A log of any size, from anywhere, as the facts in it: in one pass, in constant memory, never an error.

What costs is done once for all lines that are alike but for their digits. Most of these shapes say nothing:
one search in all that are new tells which may.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain, compress, count, filterfalse, repeat
from typing import IO, Final

from comfy.log.entry import LogEntry, Sight
from comfy.log.facts import (
    BarFact,
    LogFact,
    ModelLoadedFact,
    ModelRequestedFact,
    ModuleOnCardFact,
    PromptDoneFact,
)
from comfy.log.foreign_dress import (
    ALIKE,
    DATE_OR_NAME,
    DRESSES,
    WORDS,
    from_docker,
    from_json,
    glued_stamp,
    learn,
    undress,
)
from comfy.log.lines import GRAVE, HEAD, HEADS, Requests, is_bar, is_begun, is_unknown_trouble, read_line
from comfy.log.system_forms import LAST_WORDS, SYSTEM_WORDS
from comfy.log.text import LogLevel, PlainLine, plain_lines

_CHUNK: Final = 1 << 17
_LONGEST: Final = 1 << 16  # of a line; the rest of a longer one is left out
_GZIP: Final = b"\x1f\x8b"
_LEAST_SAMPLED: Final = 1 << 14  # bytes; in a smaller block every line may as well be looked at
_SAMPLES: Final = 16
_LONGEST_SHAPE: Final = 2000  # bytes; a longer line is looked at each time, and only its facts are kept
_MOST_SHAPES: Final = 4096
_MOST_CUTS: Final = 3
_LONGEST_CUT: Final = 200  # bytes: a line of a wide window
_LONGEST_ABOVE: Final = 200  # bytes of the line above a bar that are kept with it
_LINES_LEARNED_FROM: Final = 100_000
_MOST_LEARNED: Final = 8
_LAST: Final = 1 << 15  # bytes of shapes: among the last ones stands how the process ended
_ENDS_OF_STAMPS: Final = (b" -", b" - ", b" -\r", b" - \r")
_MODULES_READ: Final = 100
_MODULE_HEAD: Final = b"low"
# Of a line whose shape says nothing of it, such as one in JSON, or is not known yet.
_UNKNOWN: Final = (Sight(slice(0), None, None, None, None),)

_FOLLOWED: Final = frozenset((ModelLoadedFact, ModelRequestedFact, PromptDoneFact, ModuleOnCardFact))
_TROUBLE: Final = frozenset(level for level in LogLevel if level.is_trouble)
_HEADS: Final = frozenset(head.encode() for head in HEADS) | {words[:HEAD].encode() for words in GRAVE}

Log = str | bytes | IO[bytes] | Iterable[bytes] | Iterable[str]


class LogStream:
    """Iterates over a log's entries; `lines` and `known` count block by block while it does."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.lines = 0  # all, blank ones and bars included
        self.known = 0  # those that were read as facts
        self.stamped = 0  # of the known, those that have a stamp
        # Told of each entry whose line says whose it is: a log may hold the lines of several servers.
        self.on_sourced: Callable[[LogEntry], None] | None = None
        self.done = 0  # prompts of which a line tells the end
        self._requests: Requests[LogEntry] = Requests()
        self._requests_of: defaultdict[bytes, Requests[LogEntry]] = defaultdict(Requests)
        self._heads = _HEADS
        self._modules = 0
        self._shapes: dict[bytes, tuple[Sight, ...]] = {}
        self._learned: frozenset[bytes] = frozenset()
        self._is_stamped_above = False  # some lines have their stamp at the end of the one above

    def __iter__(self) -> Iterator[LogEntry]:
        last = b""
        for block in map(from_docker, _blocks(_utf8(_unzipped(_chunks(self._log))))):
            self._learn(block)
            lines, shapes = block.split(b"\n"), block.translate(ALIKE).split(b"\n")
            first = self.lines + 1
            self.lines += len(lines)
            told = self._told(shapes)
            is_stamped_above, on_sourced = self._is_stamped_above, self.on_sourced
            facts = stamped = 0
            rows = zip(count(first), chain((last,), lines), lines, told)
            # What follows is done for each of millions of lines: no call that can be spared.
            for number, above, whole, known in compress(rows, told):
                line, sights = whole, known
                if known is _UNKNOWN:
                    line, sights = self._look(lines, number - first)
                if is_stamped_above:
                    line, sights = _stamped_above(line, sights, above)
                for sight in sights:
                    entry = LogEntry(number, line, sight)
                    kind = sight.kind
                    if kind in _FOLLOWED:
                        self._follow(entry, sight)
                    if kind is BarFact:
                        entry.above = above[:_LONGEST_ABOVE]
                    elif kind is not None:
                        facts += 1
                    if entry.is_stamped and kind is not None:
                        stamped += 1
                    if on_sourced is not None and sight.source is not None:
                        on_sourced(entry)
                    yield entry
            self.known += facts
            self.stamped += stamped
            last = lines[-1]

    def _follow(self, entry: LogEntry, sight: Sight) -> None:
        """What a line says of those behind it, or these of it."""
        kind = sight.kind
        if sight.source is not None:  # a line that does not say whose it is is of who spoke last
            self._requests = self._requests_of[entry.source]
        requests = self._requests
        if kind is ModelLoadedFact:
            entry.requested = requests.answer(entry.text)
        elif kind is ModelRequestedFact:
            requests.ask(entry, entry.text, entry.number)
        elif kind is PromptDoneFact:
            self.done += 1
            requests.forget()
        else:
            self._count_module()

    def _told(self, shapes: list[bytes]) -> list[tuple[Sight, ...]]:
        """What lines of these shapes say: nothing, most often; `_UNKNOWN` where each is to be looked at."""
        new = b"\n" + b"\n".join(filterfalse(self._shapes.__contains__, dict.fromkeys(shapes)))
        self._is_stamped_above = self._is_stamped_above or any(end + b"\n" in new for end in _ENDS_OF_STAMPS)
        last = new[-_LAST:]
        system = frozenset(
            (
                *(word for word in SYSTEM_WORDS if word.translate(ALIKE) in new),
                *(word for word in LAST_WORDS if word.translate(ALIKE) in last),
            )
        )
        usual = _usual_dresses(new, self._learned)
        told = dict(self._shapes)
        for found in _telling(usual, self._heads, self._learned, system).finditer(new):
            start = found.start() + 1
            end = new.find(b"\n", start)
            told[new[start : end if end > 0 else None]] = _UNKNOWN
        return list(map(told.get, shapes, repeat(())))

    def _look(self, lines: list[bytes], at: int) -> tuple[bytes, tuple[Sight, ...]]:
        """Where in a line what stands; and the line, put together anew if need be."""
        line = lines[at]
        if len(line) > _LONGEST:
            line = _cut(line)
        if line[:1] == b"{":
            line = from_json(line)
        if b"\r" in line:
            line = _last_states(line.rstrip(b"\r"))
        if b"\\" in line:
            line = _ESCAPED.sub(rb"\1", line)
        shape = line.translate(ALIKE)
        sights = self._shapes.get(shape)
        if sights is not None:
            return line, sights
        seen, sights = _seen(line, self._heads, self._learned)
        if not sights and is_begun(line[undress(line, self._learned).text].decode("utf-8", "replace")):
            seen, sights = self._mend(line, lines[at + 1 : at + 1 + _MOST_CUTS])
        if seen is line and len(line) <= _LONGEST_SHAPE:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = sights
        return seen, sights

    def _mend(self, line: bytes, behind: Iterable[bytes]) -> tuple[bytes, tuple[Sight, ...]]:
        """A line that a terminal's width has cut, put together with those behind it; else nothing."""
        wholes = [line.rstrip(b"\r")]
        for each in behind:
            following = each[:_LONGEST_CUT].rstrip(b"\r")
            if not following.strip() or _seen(following, self._heads, self._learned)[1]:
                break
            # Cut within a word, or between two, where the space may be gone.
            wholes = [whole + glue + following for whole in wholes for glue in (b"", b" ")]
            for whole in wholes:
                seen, sights = _seen(whole, self._heads, self._learned)
                if sights:
                    return seen, sights
        return line, ()  # nobody has cut it: it only begins alike

    def _learn(self, block: bytes) -> None:
        """Whoever ran it may put before each line what nobody else does: its first blocks tell."""
        if self.lines > _LINES_LEARNED_FROM:
            return
        learned = self._learned | learn(block, is_first=self.lines == 0)
        if learned != self._learned and len(learned) <= _MOST_LEARNED:
            self._learned = learned
            self._shapes.clear()

    def _count_module(self) -> None:
        """A log at level DEBUG has hundreds of thousands of such lines, and all say the same."""
        self._modules += 1
        if self._modules == _MODULES_READ:
            self._heads -= {_MODULE_HEAD}
            self._shapes.clear()


def _seen(line: bytes, heads: frozenset[bytes], learned: frozenset[bytes]) -> tuple[bytes, tuple[Sight, ...]]:
    """What a line says, its bars and what is glued to them one by one."""
    bare = undress(line, learned)
    told = _told(line[bare.text], bare.level, heads)
    if not told:
        return line, ()
    spans = _spans(line, bare.text.start, [text for text, _, _ in told])
    stamp, zone, source = bare.stamp, bare.zone, bare.source
    if spans is None or len(line) > _LONGEST_SHAPE:
        # Colours stand within the text, or there is more of it than is worth keeping.
        name = line[source] if source is not None else b""
        head = b"".join(line[part] for part in (stamp, zone) if part is not None)
        line = b"\n".join((head, name, *(text[:_LONGEST_SHAPE] for text, _, _ in told)))
        stamp = slice(0, stamp.stop - stamp.start) if stamp is not None else None
        zone = slice(stamp.stop if stamp is not None else 0, len(head)) if zone is not None else None
        source = slice(len(head) + 1, len(head) + 1 + len(name)) if name else None
        spans = _spans(line, len(head) + 1 + len(name), [text[:_LONGEST_SHAPE] for text, _, _ in told]) or []
    return line, tuple(
        Sight(span, stamp, zone, level, kind, source)
        for span, (_, level, kind) in zip(spans, told, strict=True)
    )


def _stamped_above(line: bytes, sights: tuple[Sight, ...], above: bytes) -> tuple[bytes, tuple[Sight, ...]]:
    """A line that has no stamp of its own, with the one at the end of the line above it."""
    if not sights or sights[0].stamp is not None or not above.endswith(_ENDS_OF_STAMPS):
        return line, sights
    stamp = glued_stamp(above)
    if not stamp:
        return line, sights
    by = len(stamp) + 1
    return stamp + b"\n" + line, tuple(
        replace(
            each,
            text=_moved(each.text, by),
            stamp=slice(0, len(stamp)),
            source=_moved(each.source, by) if each.source is not None else None,
        )
        for each in sights
    )


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def _spans(line: bytes, at: int, texts: Iterable[bytes]) -> list[slice] | None:
    found = []
    for text in texts:
        at = line.find(text, at)
        if at < 0:
            return None
        found.append(slice(at, at + len(text)))
        at += len(text)
    return found


_Told = tuple[bytes, LogLevel | None, type[LogFact] | None]


def _told(line: bytes, level: LogLevel | None, heads: frozenset[bytes]) -> list[_Told]:
    """What an undressed line says, in its order."""
    if not (
        line.lstrip()[:HEAD] in heads
        or line.lstrip()[:1] in DRESSES
        or level in _TROUBLE
        or _BAR_MARK.search(line)
        or any(word in line for word in (*SYSTEM_WORDS, *LAST_WORDS))
    ):
        return []
    text = line.decode("utf-8", "replace")
    # In most lines nothing acts on a terminal: such a one has no colours and is not cut.
    simple = text.isprintable() and "%|" not in text
    found: list[_Told] = []
    for plain in (PlainLine(text=text.rstrip()),) if simple else plain_lines(text):
        grade, said = plain.level or level, plain.text
        kind = _kind_of(said)
        if kind is None and not simple:
            # What is glued to a bar has a dress of its own.
            glued = said.encode("utf-8")
            said = glued[undress(glued).text].decode("utf-8")
            kind = _kind_of(said)
        if kind is not None or is_unknown_trouble(said, grade):
            found.append((said.encode("utf-8"), grade, kind))
    return found


def _kind_of(text: str) -> type[LogFact] | None:
    if "/" in text and is_bar(text):
        return BarFact
    fact = read_line(text)
    return type(fact) if fact is not None else None


# What an editor of Markdown puts before its own marks.
_ESCAPED: Final = re.compile(rb"\\([_|*\[\]<>])")
_BAR_MARK: Final = re.compile(rb"%\\?(?:\||\s{1,4}\d{1,9}/\d)")
_ENDS_OF_BARS: Final = (b"it/s]", b"s/it]")
_FIRST_STATES: Final = (b"| 0/", b"| 1/")


def _last_states(line: bytes) -> bytes:
    """Of a progress bar its beginning, its first step and its end; whatever else stands there stays."""
    start = line.find(b"\r", line.find(b"| 1/")) + 1
    end = line.rfind(b"\r") + 1
    between = line[start:end]
    states = between.count(b"\r")
    if (
        # The usual case, without a look at each state: there are as many as a sampler has steps.
        states == between.count(b"%|")
        and states == between.count(b"it/s]\r") + between.count(b"s/it]\r")
        and b"| 0/" not in between
        and b"| 1/" not in between
        and line[end:].strip()
    ):
        return line[:start] + line[end:]
    *pieces, last = line.split(b"\r")
    kept = [
        piece
        for piece in pieces
        if piece.rstrip()[-5:] not in _ENDS_OF_BARS
        or b"%|" not in piece
        or any(mark in piece for mark in _FIRST_STATES)
    ]
    if not last.strip() and pieces[-1:] != kept[-1:]:
        kept.append(pieces[-1])  # a bar that was wiped away
    return b"\r".join((*kept, last))


def _usual_dresses(shapes: bytes, learned: frozenset[bytes]) -> frozenset[bytes]:
    """What stands before the text in many of these lines, their digits all 0."""
    if len(shapes) < _LEAST_SAMPLED:
        return frozenset()
    found: Counter[bytes] = Counter()
    for at in range(0, len(shapes), len(shapes) // _SAMPLES):
        start = shapes.find(b"\n", at) + 1
        line = shapes[start : start + _LONGEST].partition(b"\n")[0]
        bare = undress(line, learned)
        # One that tells of trouble is looked at, whatever stands in it.
        if bare.level not in _TROUBLE and bare.text.start > 0:
            found[line[: bare.text.start]] += 1
    return frozenset(dress for dress, times in found.items() if times > 1)


@lru_cache(maxsize=64)
def _telling(
    dresses: frozenset[bytes], heads: frozenset[bytes], learned: frozenset[bytes], system: frozenset[bytes]
) -> re.Pattern[bytes]:
    """Finds the shapes of lines that may be facts or complaints; leaves out only what certainly is none.

    All shapes come by here, so it is one search in many of them. A line in a usual dress is told by what
    stands behind that, any other by how it begins.
    """
    begins = (head.translate(ALIKE) for head in heads | WORDS | DRESSES)
    text = b"|".join((_any_of(begins), DATE_OR_NAME, *map(re.escape, learned)))
    usual = b"|".join(map(re.escape, sorted(dresses))) or b"(?!)"
    # Each with a search of its own: one for all of them looks at every character.
    inside = b"".join(rb"|.*%b" % re.escape(word.translate(ALIKE)) for word in sorted(system))
    return re.compile(rb"\n(?:(?:%b|(?!%b))(?:%b)|.*%b%b)" % (usual, usual, text, _BAR_MARK.pattern, inside))


def _any_of(words: Iterable[bytes]) -> bytes:
    """A pattern for these, which asks for each first letter once."""
    words = sorted(set(words))
    first = {word[:1]: b"" for word in words}
    for letter in first:
        first[letter] = b"|".join(re.escape(word[1:]) for word in words if word[:1] == letter)
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


def _unzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip has packed, as far as it is whole; anything else as it is."""
    first = next(chunks, b"")
    if first[:2] != _GZIP:
        yield first
        yield from chunks
        return
    packed = zlib.decompressobj(zlib.MAX_WBITS | 16)
    for chunk in chain((first,), chunks):
        rest = chunk
        while rest:
            try:
                yield packed.decompress(rest, _CHUNK)  # of zeros a thousand times as much would come
            except zlib.error:  # cut off, or damaged
                return
            rest = packed.unconsumed_tail
            if packed.eof:  # one file may be several behind each other
                rest, packed = packed.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 16)


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
    """Whole lines, so many at a time that a search in them is worth it.

    One of more than 64 KiB is cut short, but for bars, which have no end for hours.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= _CHUNK:
            whole, end, rest = b"".join(parts).rpartition(b"\n")
            if end:
                yield whole
            parts = [_cut(rest)]
            size = len(parts[0])
    last = b"".join(parts)
    if last:
        yield last.removesuffix(b"\n")


def _cut(line: bytes) -> bytes:
    if len(line) <= _LONGEST:
        return line
    return _last_states(line)[-_LONGEST:] if b"\r" in line else line[:_LONGEST]
