"""Matroska and WebM: tags become void elements of the same length, so that nothing moves.

Source: RFC 8794 (EBML: numbers, Void, CRC-32), RFC 9559 (Matroska: Segment, Info, Tags).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from worker.results.metadata.edits import Edit, Malformed, Source
from worker.results.metadata.kept import stays

_SEGMENT: Final = 0x18538067
_INFO: Final = 0x1549A966
_TITLE: Final = 0x7BA9
_TAGS: Final = 0x1254C367
_TAG: Final = 0x7373
_SIMPLE_TAG: Final = 0x67C8
_TAG_NAME: Final = 0x45A3
_TAG_STRING: Final = 0x4487
_CRC32: Final = 0xBF
_VOID: Final = 0xEC


@dataclass(frozen=True, slots=True, kw_only=True)
class _Element:
    kind: int
    start: int
    body: int
    end: int


def matroska(source: Source) -> list[Edit]:
    """Edits that take the metadata out."""
    found: list[Edit] = []
    for top in _elements(source, 0, source.size):
        for part in _elements(source, top.body, top.end) if top.kind == _SEGMENT else ():
            if part.kind == _TAGS:
                found += _tags(source, part)
            elif part.kind == _INFO:
                found += _without(source, part, _TITLE)
    return found


def _elements(source: Source, start: int, end: int) -> Iterator[_Element]:
    at = start
    while at < end:
        kind, body = _number(source, at, marked=True)
        length, body = _number(source, body, marked=False)
        if length is None and kind != _SEGMENT:
            raise Malformed("it was written as a stream, without the lengths of its parts")
        stop = end if length is None else body + length
        if kind is None or stop > end:
            raise Malformed(f"element at {at} does not fit")
        yield _Element(kind=kind, start=at, body=body, end=stop)
        at = stop


def _number(source: Source, at: int, *, marked: bool) -> tuple[int | None, int]:
    """A number in EBML's variable form, and where it ends; None says "unknown".

    Args:
        marked: with the bit that tells the length, as ids are written.
    """
    first = source.number(at, 1)
    if first == 0:
        raise Malformed(f"no element at {at}")
    size = 9 - first.bit_length()
    raw = source.number(at, size)
    bits = 7 * size
    value = raw & ((1 << bits) - 1)
    if value == (1 << bits) - 1:
        return None, at + size
    return raw if marked else value, at + size


def _tags(source: Source, tags: _Element) -> list[Edit]:
    found: list[Edit] = []
    all_tags = [each for each in _elements(source, tags.body, tags.end) if each.kind == _TAG]
    empty = 0
    for tag in all_tags:
        simple = [each for each in _elements(source, tag.body, tag.end) if each.kind == _SIMPLE_TAG]
        going = [each for each in simple if not _stays(source, each)]
        if going and len(going) == len(simple):
            empty += 1
            found.append(_voided(tag))
        else:
            found += [_voided(each) for each in going]
    if empty and empty == len(all_tags):
        return [_voided(tags)]
    return [*found, *_checksums(source, tags)] if found else []


def _stays(source: Source, simple: _Element) -> bool:
    texts = {
        each.kind: source.read(each.body, min(each.end - each.body, 1 << 12))
        for each in _elements(source, simple.body, simple.end)
    }
    if _SIMPLE_TAG in texts:
        return False
    return stays(texts.get(_TAG_NAME, b"").decode(errors="replace"), texts.get(_TAG_STRING, b""))


def _without(source: Source, parent: _Element, kind: int) -> list[Edit]:
    going = [_voided(each) for each in _elements(source, parent.body, parent.end) if each.kind == kind]
    return [*going, *_checksums(source, parent)] if going else []


def _checksums(source: Source, parent: _Element) -> list[Edit]:
    """A checksum over what has changed goes too: none is better than a wrong one."""
    return [_voided(each) for each in _elements(source, parent.body, parent.end) if each.kind == _CRC32]


def _voided(element: _Element) -> Edit:
    length = element.end - element.start
    # One byte tells a length up to 126; eight tell any.
    head = bytes([_VOID, 0x80 | (length - 2)]) if length - 2 < 0x7F else bytes([_VOID, 0x01])
    if length - 2 >= 0x7F:
        head += (length - 9).to_bytes(7, "big")
    return Edit(start=element.start, end=element.end, new=head + bytes(length - len(head)))
