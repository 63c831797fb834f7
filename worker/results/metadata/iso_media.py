"""MP4, MOV, M4A and their kin, AVIF and HEIC: metadata boxes become free space, so that nothing moves.

Source: ISO/IEC 14496-12 (boxes, ``udta``, ``meta``, ``iloc``); QuickTime File Format (``keys`` and ``ilst``);
ISO/IEC 23008-12 (``Exif`` items).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from worker.results.metadata.edits import Edit, Malformed, Source, blanked
from worker.results.metadata.kept import stays

_XMP: Final = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_HOLD_BOXES: Final = (b"moov", b"trak", b"moof", b"traf")
# How loud it is, hints for streaming: no texts.
_OF_PLAYERS: Final = (b"ludt", b"hnti", b"hinf", b"free", b"skip", b"\0\0\0\0")
_VALUE_BYTES: Final = 1 << 12  # of a value, as far as it is looked at
# EXIF without an entry, for readers that refuse a picture whose EXIF is none.
_NO_EXIF: Final = b"\0\0\0\0" + b"II*\0\x08\0\0\0" + b"\0\0" + b"\0\0\0\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    kind: bytes
    start: int
    body: int  # where its content begins
    end: int


def iso_media(source: Source) -> list[Edit]:
    """Edits that take the metadata out."""
    return list(_edits_within(source, 0, source.size))


def _edits_within(source: Source, start: int, end: int) -> Iterator[Edit]:
    for box in _boxes(source, start, end):
        if box.kind in _HOLD_BOXES:
            yield from _edits_within(source, box.body, box.end)
        elif box.kind == b"udta":
            yield from _user_data(source, box)
        elif box.kind == b"meta":
            yield from _meta(source, box)
        elif box.kind == b"uuid" and source.peek(box.body, 16) == _XMP:
            yield from _freed(box)


def _boxes(source: Source, start: int, end: int) -> Iterator[_Box]:
    at = start
    while at + 8 <= end:  # QuickTime's user data may end with four zeros
        length, kind, body = source.number(at, 4), source.read(at + 4, 4), at + 8
        if length == 1:
            length, body = source.number(at + 8, 8), at + 16
        elif length == 0:
            length = end - at  # to the end of the file
        if body > at + length or at + length > end:
            raise Malformed(f"box {kind!r} at {at} does not fit")
        yield _Box(kind=kind, start=at, body=body, end=at + length)
        at += length


def _user_data(source: Source, udta: _Box) -> Iterator[Edit]:
    for box in _boxes(source, udta.body, udta.end):
        if box.kind == b"meta":
            yield from _meta(source, box)
        elif box.kind not in _OF_PLAYERS and not stays(
            box.kind.decode("latin-1"), _value(source, box.body, box.end)
        ):
            yield from _freed(box)


def _meta(source: Source, meta: _Box) -> Iterator[Edit]:
    # QuickTime's has no version before its boxes.
    inner = meta.body if source.peek(meta.body + 4, 4) == b"hdlr" else meta.body + 4
    boxes = {box.kind: box for box in _boxes(source, inner, meta.end)}
    if b"hdlr" not in boxes:
        return
    handler = source.read(boxes[b"hdlr"].body + 8, 4)
    if handler == b"pict":
        yield from _items(source, boxes)
    elif handler in (b"mdir", b"mdta") and b"ilst" in boxes:
        names = _names(source, boxes[b"keys"]) if b"keys" in boxes else []
        entries = list(_boxes(source, boxes[b"ilst"].body, boxes[b"ilst"].end))
        going = [entry for entry in entries if not _entry_stays(source, entry, names)]
        if going and len(going) == len(entries):
            yield from _freed(meta)
            return
        for entry in going:
            yield from _freed(entry)


def _names(source: Source, keys: _Box) -> list[str]:
    at, names = keys.body + 8, []
    for _ in range(source.number(keys.body + 4, 4)):
        length = source.number(at, 4)
        if length < 8 or at + length > keys.end:
            raise Malformed(f"key at {at} does not fit")
        names.append(source.read(at + 8, length - 8).decode(errors="replace"))
        at += length
    return names


def _entry_stays(source: Source, entry: _Box, names: list[str]) -> bool:
    if entry.kind in _OF_PLAYERS:
        return True
    number = int.from_bytes(entry.kind, "big")
    name = names[number - 1] if 0 < number <= len(names) else entry.kind.decode("latin-1")
    return stays(name, _value(source, entry.body + 16, entry.end))  # after the head of its `data` box


def _value(source: Source, start: int, end: int) -> bytes:
    return source.peek(start, min(end - start, _VALUE_BYTES)) if end > start else b""


def _freed(box: _Box) -> Iterator[Edit]:
    yield Edit(start=box.start + 4, end=box.start + 8, new=b"free")
    yield blanked(box.body, box.end)


def _items(source: Source, boxes: dict[bytes, _Box]) -> Iterator[Edit]:
    """A picture's EXIF and XMP: their bytes are named by place, and are blanked there."""
    if b"iinf" not in boxes or b"iloc" not in boxes:
        return
    texts = dict(_text_items(source, boxes[b"iinf"]))
    idat = boxes[b"idat"].body if b"idat" in boxes else None
    for item, extents in _places(source, boxes[b"iloc"], idat):
        for start, end in extents if item in texts else ():
            length = end - start
            if texts[item] == b"Exif":
                yield Edit(
                    start=start, end=end, new=_NO_EXIF[:length] + bytes(max(0, length - len(_NO_EXIF)))
                )
            else:
                yield Edit(start=start, end=end, new=b" " * length)


def _text_items(source: Source, iinf: _Box) -> Iterator[tuple[int, bytes]]:
    wide = source.number(iinf.body, 1) > 0
    for infe in _boxes(source, iinf.body + (8 if wide else 6), iinf.end):
        version = source.number(infe.body, 1)
        size = 4 if version == 3 else 2
        kind = source.read(infe.body + 4 + size + 2, 4)
        if version >= 2 and kind in (b"Exif", b"mime"):
            yield source.number(infe.body + 4, size), kind


def _places(source: Source, iloc: _Box, idat: int | None) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    version, at = source.number(iloc.body, 1), iloc.body + 4
    sizes = source.number(at, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    id_size = 4 if version == 2 else 2
    at += 2

    def take(count: int) -> int:
        nonlocal at
        if at + count > iloc.end:
            raise Malformed("the list of items does not fit")
        at += count
        return source.number(at - count, count) if count else 0

    for _ in range(take(id_size)):
        item = take(id_size)
        within_idat = bool(version) and take(2) & 15 == 1
        take(2)  # which file it is in: this one
        base, extents = take(base_size), []
        for _ in range(take(2)):
            take(index_size)
            start = base + take(offset_size) + (idat or 0 if within_idat else 0)
            extents.append((start, start + take(length_size)))
        yield item, extents
