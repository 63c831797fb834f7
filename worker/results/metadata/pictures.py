"""PNG, JPEG, WEBP, GIF and TIFF: what is text is left out, every pixel and colour profile stays as it is.

Source: PNG third edition, section 11; ITU-T T.81, annex B; WebP container specification; GIF89a.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zlib import crc32

from worker.results.metadata.edits import Edit, Malformed, Source
from worker.results.metadata.kept import plain_exif, says_emulated

_LOOKED_AT: Final = 1 << 12  # bytes of a text

# All that the standard knows and that is no text; "comf" of ComfyUI's animated PNG is not among them.
_PNG_CHUNKS: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT tIME "
    b"acTL fcTL fdAT".split()
)
_WEBP_CHUNKS: Final = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP"))
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04  # flags of VP8X
_GIF_APPLICATIONS: Final = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")
_JPEG_KEPT: Final = frozenset((0xE0, 0xE2, 0xEE))  # JFIF, colour profile, Adobe's colour transform
_JPEG_EXIF, _JPEG_COMMENT, _JPEG_SCAN = 0xE1, 0xFE, 0xDA
_EXIF_DIRECTORY: Final = 34665
# ImageDescription, Make, Model, PageName, Artist, HostComputer, XMP, Copyright, IPTC, Photoshop, MakerNote,
# UserComment, and what Windows writes.
_TIFF_TEXTS: Final = frozenset(
    (270, 271, 272, 285, 315, 316, 700, 33432, 33723, 34377, 37500, 37510, 40091, 40092, 40093, 40094, 40095)
)
_TIFF_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1}


def png(source: Source) -> list[Edit]:
    """Edits that take the metadata out, of animated ones too."""
    found, at = [], 8
    while at < source.size:
        length, kind = source.number(at, 4), source.read(at + 4, 4)
        end = at + 12 + length
        if end > source.size:
            raise Malformed(f"chunk {kind!r} at {at} does not fit")
        if kind not in _PNG_CHUNKS:
            body = source.read(at + 8, length)
            new = _png_exif(body) if kind == b"eXIf" else b""
            if not says_emulated(body):
                found.append(Edit(start=at, end=end, new=new))
        if kind == b"IEND":
            break
        at = end
    return found


def _png_exif(given: bytes) -> bytes:
    plain = plain_exif(given).removeprefix(b"Exif\0\0")
    if not plain:
        return b""
    return len(plain).to_bytes(4, "big") + b"eXIf" + plain + crc32(b"eXIf" + plain).to_bytes(4, "big")


def jpeg(source: Source) -> list[Edit]:
    """Edits that take the metadata out."""
    found: list[Edit] = []
    at = 2
    while at + 4 <= source.size:
        marker = source.read(at, 2)
        if marker[0] != 0xFF:
            raise Malformed(f"no marker at {at}")
        if marker[1] == 0xFF:
            at += 1  # fill
            continue
        if marker[1] == _JPEG_SCAN:
            return found
        end = at + 2 + source.number(at + 2, 2)
        body = source.read(at + 4, end - at - 4)
        is_text = marker[1] == _JPEG_COMMENT or 0xE0 <= marker[1] <= 0xEF
        if is_text and marker[1] not in _JPEG_KEPT and not says_emulated(body):
            plain = plain_exif(body) if marker[1] == _JPEG_EXIF and body[:4] == b"Exif" else b""
            head = b"\xff\xe1" + (len(plain) + 2).to_bytes(2, "big") if plain else b""
            found.append(Edit(start=at, end=end, new=head + plain))
        at = end
    raise Malformed("it holds no picture")


def webp(source: Source) -> list[Edit]:
    """Edits that take the metadata out, of animated ones too."""
    found: list[Edit] = []
    flags_at, flags, at = None, 0, 12
    end = min(source.size, 8 + source.number(4, 4, "little"))
    while at + 8 <= end:
        kind, length = source.read(at, 4), source.number(at + 4, 4, "little")
        stop = min(at + 8 + length + length % 2, end)
        if kind == b"VP8X":
            flags_at, flags = at + 8, source.number(at + 8, 1)
        elif kind == b"EXIF":
            plain = plain_exif(source.read(at + 8, length))
            if plain.removeprefix(b"Exif\0\0") != source.peek(at + 8, length).removeprefix(b"Exif\0\0"):
                found.append(Edit(start=at, end=stop, new=_riff_chunk(b"EXIF", plain) if plain else b""))
                flags &= ~_WEBP_EXIF if not plain else 0xFF
        elif kind not in _WEBP_CHUNKS:
            found.append(Edit(start=at, end=stop))
            flags &= ~_WEBP_XMP if kind == b"XMP " else 0xFF
        at = stop
    if found:
        shrunk = sum(edit.end - edit.start - len(edit.new) for edit in found)
        found.append(Edit(start=4, end=8, new=(end - 8 - shrunk).to_bytes(4, "little")))
        if flags_at is not None:
            found.append(Edit(start=flags_at, end=flags_at + 1, new=bytes([flags])))
    return found


def _riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)


def gif(source: Source) -> list[Edit]:
    """Edits that take the metadata out."""
    found = []
    at = 13 + _gif_colours(source.number(10, 1))
    while at < source.size:
        block = source.number(at, 1)
        if block == 0x3B:
            break
        if block == 0x2C:
            at = _after_blocks(source, at + 10 + _gif_colours(source.number(at + 9, 1)) + 1)
        elif block == 0x21:
            end = _after_blocks(source, at + 2)
            if _gif_text(source.read(at + 1, 1), source.read(at + 3, min(end - at - 3, _LOOKED_AT))):
                found.append(Edit(start=at, end=end))
            at = end
        else:
            raise Malformed(f"no block at {at}")
    return found


def _gif_text(label: bytes, body: bytes) -> bool:
    if label == b"\xff":
        return not body.startswith(_GIF_APPLICATIONS)
    return label == b"\xfe" and not says_emulated(body)


def _gif_colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(source: Source, at: int) -> int:
    while length := source.number(at, 1):
        at += length + 1
    return at + 1


def tiff(source: Source) -> list[Edit]:
    """Edits that blank the texts, EXIF and XMP of a TIFF."""
    order = "little" if source.read(0, 2) == b"II" else "big"
    found: list[Edit] = []
    directories, seen = [source.number(4, 4, order)], set[int]()
    while directories:
        at = directories.pop()
        if at == 0 or at in seen:
            continue
        seen.add(at)
        count = source.number(at, 2, order)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, value_at = source.number(entry, 2, order), entry + 8
            if tag == _EXIF_DIRECTORY:
                directories.append(source.number(value_at, 4, order))
            elif tag in _TIFF_TEXTS:
                found += _tiff_text(source, entry, order)
        directories.append(source.number(at + 2 + 12 * count, 4, order))
    return found


def _tiff_text(source: Source, entry: int, order: str) -> Iterator[Edit]:
    length = _TIFF_SIZES.get(source.number(entry + 2, 2, order), 1) * source.number(entry + 4, 4, order)
    start = entry + 8 if length <= 4 else source.number(entry + 8, 4, order)
    old = source.read(start, length)
    if not says_emulated(old):
        yield Edit(start=start, end=start + length, new=bytes(length))
