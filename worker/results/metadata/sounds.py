"""FLAC, MP3, Ogg, WAV and AVI: comments are blanked where they stand, so that nothing moves.

Source: RFC 9639 (FLAC); id3.org, ID3v2.3 and v2.4; RFC 3533 (Ogg pages), RFC 7845 section 5.2 (Opus may be
padded after its comments), Vorbis I section 5; Microsoft's RIFF.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from worker.results.metadata.edits import Edit, Malformed, Source, blanked
from worker.results.metadata.kept import stays

_FLAC_PADDING, _FLAC_COMMENTS = 1, 4
_LAST_BLOCK: Final = 0x80
_RIFF_TEXTS: Final = (b"id3 ", b"ID3 ", b"iXML", b"bext", b"_PMX", b"XMP ")
_RIFF_ENCODER: Final = b"ISFT"
_ID3_FRAMES_KEPT: Final = (b"TSSE", b"TLEN")  # the encoder, and how long it lasts
_PAGE_HEAD_BYTES: Final = 27
_OPUS, _VORBIS = b"OpusTags", b"\x03vorbis"


def flac(source: Source) -> list[Edit]:
    """Edits that turn the comments into padding."""
    at = 4
    while True:
        kind, length = source.number(at, 1), source.number(at + 1, 3)
        body, end = at + 4, at + 4 + length
        if end > source.size:
            raise Malformed(f"block at {at} does not fit")
        if kind & ~_LAST_BLOCK == _FLAC_COMMENTS and _Comments.read(source.read(body, length)).going:
            padding = bytes([kind & _LAST_BLOCK | _FLAC_PADDING])
            return [Edit(start=at, end=at + 1, new=padding), blanked(body, end)]
        if kind & _LAST_BLOCK:
            return []
        at = end


def id3(source: Source) -> list[Edit]:
    """Edits that blank ID3 before the sound and after it, whatever sound that is."""
    found = list(_id3_before(source)) if source.peek(0, 3) == b"ID3" else []
    if source.size > 128 and source.read(source.size - 128, 3) == b"TAG":
        found.append(blanked(source.size - 125, source.size - 1))  # the last byte is a number: the genre
    return found


def _id3_before(source: Source) -> Iterator[Edit]:
    version, flags = source.number(3, 1), source.number(5, 1)
    end = 10 + _syncsafe(source.read(6, 4))
    kept, going = b"", flags & 0x40 != 0 or version < 3
    at = 10
    while not going and at + 10 <= end and source.read(at, 1) != b"\0":
        name, size = source.read(at, 4), source.read(at + 4, 4)
        stop = at + 10 + (_syncsafe(size) if version == 4 else int.from_bytes(size, "big"))
        if stop > end:
            raise Malformed(f"frame {name!r} does not fit")
        whole = source.read(at, stop - at)
        if stays("encoder" if name in _ID3_FRAMES_KEPT else "", whole):
            kept += whole
        at = stop
    yield Edit(start=5, end=6, new=bytes([flags & ~0x40]))
    yield Edit(start=10, end=end, new=kept + bytes(end - 10 - len(kept)))


def _syncsafe(four: bytes) -> int:
    return four[0] << 21 | four[1] << 14 | four[2] << 7 | four[3]


def riff(source: Source) -> list[Edit]:
    """Edits that turn the texts of WAV or AVI into junk, as that is called there."""
    found: list[Edit] = []
    at, end = 12, min(source.size, 8 + source.number(4, 4, "little"))
    while at + 8 <= end:
        kind, length = source.read(at, 4), source.number(at + 4, 4, "little")
        stop = min(at + 8 + length, end)
        is_list = kind == b"LIST" and source.peek(at + 8, 4) == b"INFO"
        if kind in _RIFF_TEXTS or (is_list and not _only_encoder(source, at + 12, stop)):
            found += [Edit(start=at, end=at + 4, new=b"JUNK"), blanked(at + 8, stop)]
        at += 8 + length + length % 2
    return found


def _only_encoder(source: Source, start: int, end: int) -> bool:
    at = start
    while at + 8 <= end:
        length = source.number(at + 4, 4, "little")
        if not stays("encoder" if source.read(at, 4) == _RIFF_ENCODER else "", source.peek(at + 8, length)):
            return False
        at += 8 + length + length % 2
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comments:
    """A list of comments as Vorbis has it, and FLAC and Opus after it."""

    vendor: bytes
    kept: tuple[bytes, ...]
    going: int  # how many are to go

    @classmethod
    def read(cls, body: bytes) -> _Comments:
        """Read one.

        Raises:
            Malformed: a length leads out of it.
        """
        at = 0

        def take() -> bytes:
            nonlocal at
            length = int.from_bytes(body[at : at + 4], "little")
            if at + 4 + length > len(body):
                raise Malformed("a comment does not fit")
            at += 4 + length
            return body[at - length : at]

        vendor = take()
        count = int.from_bytes(body[at : at + 4], "little")
        at += 4
        comments = [take() for _ in range(min(count, len(body)))]
        kept = tuple(each for each in comments if _comment_stays(each))
        return cls(vendor=vendor, kept=kept, going=len(comments) - len(kept))

    def written(self) -> bytes:
        """Those that stay."""
        parts = [self.vendor, *self.kept]
        texts = [len(part).to_bytes(4, "little") + part for part in parts]
        return texts[0] + len(self.kept).to_bytes(4, "little") + b"".join(texts[1:])


def _comment_stays(comment: bytes) -> bool:
    name, _, value = comment.partition(b"=")
    return stays(name.decode("latin-1"), value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A page of an Ogg file, with what it carries of the packet that is looked at."""

    start: int
    body: int
    end: int
    taken: int  # bytes of the packet, from `body` on
    is_last: bool  # of that packet


def ogg(source: Source) -> list[Edit]:
    """Edits that blank the comments of Opus and Vorbis; the checksums of their pages follow."""
    first = next(_pages(source, 0))
    pages = list(_pages(source, first.end))
    packet = b"".join(source.read(page.body, page.taken) for page in pages)
    magic = next((each for each in (_OPUS, _VORBIS) if packet.startswith(each)), None)
    if magic is None:
        raise Malformed("its comments are of a kind that is not known here")
    comments = _Comments.read(packet[len(magic) :])
    if not comments.going:
        return []
    new = magic + comments.written() + (b"\x01" if magic == _VORBIS else b"")
    new += bytes(len(packet) - len(new))
    found, at = [], 0
    for page in pages:
        part = new[at : at + page.taken]
        at += page.taken
        head = source.read(page.start, page.body - page.start)
        rest = source.read(page.body + page.taken, page.end - page.body - page.taken)
        checked = _ogg_checksum(head[:22] + bytes(4) + head[26:] + part + rest)
        found.append(Edit(start=page.start + 22, end=page.start + 26, new=checked.to_bytes(4, "little")))
        found.append(Edit(start=page.body, end=page.body + page.taken, new=part))
    return found


def _pages(source: Source, start: int) -> Iterator[_Page]:
    """The pages of the one packet that begins there."""
    at, is_last = start, False
    while not is_last:
        head = source.read(at, _PAGE_HEAD_BYTES)
        if head[:4] != b"OggS":
            raise Malformed(f"no page at {at}")
        lengths = source.read(at + _PAGE_HEAD_BYTES, head[26])
        body = at + _PAGE_HEAD_BYTES + len(lengths)
        taken = 0
        for length in lengths:
            taken += length
            if length < 255:
                is_last = True
                break
        yield _Page(start=at, body=body, end=body + sum(lengths), taken=taken, is_last=is_last)
        at = body + sum(lengths)


@cache
def _checksum_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        value = number << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return tuple(table)


def _ogg_checksum(page: bytes) -> int:
    table, value = _checksum_table(), 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ table[value >> 24 ^ byte]
    return value
