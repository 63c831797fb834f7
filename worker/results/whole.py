"""Whether a media file is as long as it says itself: its outer structure, a few reads whatever its size."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from worker.errors import BrokenOutput

_UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF)  # of a writer that could not go back to fill the field in
_BOXES_AT_MOST: Final = 100_000


def check_whole(path: Path) -> None:
    """Do nothing for a whole file, or one of a kind that does not say how long it is.

    Raises:
        BrokenOutput: there is less of it than it says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        for fits, check in _CHECKS:
            if fits(head):
                missing = check(file, size)
                if missing is not None:
                    raise BrokenOutput(path.name, f"it is cut short: {missing}")
                return


def _riff(file: BinaryIO, size: int) -> str | None:
    declared = int.from_bytes(file.read(8)[4:], "little")
    if declared in _UNKNOWN_SIZES or declared + 8 <= size:
        return None
    return f"{size} of {declared + 8} bytes are there"


def _gif(file: BinaryIO, size: int) -> str | None:
    return None if _last(file, size).rstrip(b"\0").endswith(b";") else "its end mark is missing"


def _png(file: BinaryIO, size: int) -> str | None:
    return None if b"IEND" in _last(file, size) else "its end mark is missing"


def _iso_media(file: BinaryIO, size: int) -> str | None:
    """Source: ISO/IEC 14496-12, 4.2: a file is a row of boxes, each a length and a type."""
    at, kinds = 0, set()
    for _ in range(_BOXES_AT_MOST):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        kinds.add(kind)
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            break  # up to the end of the file
        if length < 8 or at + length > size:
            return f"box {kind.decode('latin-1')!r} ends beyond the file"
        at += length
    # A picture (AVIF, HEIC) has its index in "meta".
    return None if kinds & {b"moov", b"meta"} else "its index ('moov') is missing: its writer did not finish"


def _matroska(file: BinaryIO, size: int) -> str | None:
    """Source: RFC 8794 (EBML) section 4 to 6, RFC 9559 (Matroska): a header, then one Segment."""
    file.seek(4)
    header_length = _ebml_number(file)
    if header_length is None:
        return None
    file.seek(header_length, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return "its content is missing"
    length = _ebml_number(file)
    if length is None or file.tell() + length <= size:
        return None
    return f"{size} of {file.tell() + length} bytes are there"


def _ebml_number(file: BinaryIO) -> int | None:
    """A length in EBML's variable form; None if it says "unknown", or is none."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + file.read(more), "big")
    return None if value == (1 << (7 * (more + 1))) - 1 else value


def _last(file: BinaryIO, size: int) -> bytes:
    # Trailing zeros and a little rubbish after the end are common and harmless.
    file.seek(max(0, size - 1024))
    return file.read()


_CHECKS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], str | None]], ...]] = (
    (lambda head: head[:4] == b"RIFF", _riff),
    (lambda head: head[:4] == b"GIF8", _gif),
    (lambda head: head[:8] == b"\x89PNG\r\n\x1a\n", _png),
    (lambda head: head[4:8] == b"ftyp", _iso_media),
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _matroska),
)
