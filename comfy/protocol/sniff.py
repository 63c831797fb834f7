"""What a file is, by its first bytes: names and headers that a stranger gives prove nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from comfy.protocol.outputs import MediaKind

HEAD_BYTES: Final = 512  # as many as `sniff` looks at: MPEG-TS shows itself only by three of its packets


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """A kind of file that a graph may take in."""

    kind: MediaKind
    suffix: str  # what ComfyUI's loaders expect of its name


_STARTS: Final = (
    (b"\x89PNG\r\n\x1a\n", MediaKind.IMAGE, ".png"),
    (b"\xff\xd8\xff", MediaKind.IMAGE, ".jpg"),
    (b"GIF87a", MediaKind.IMAGE, ".gif"),
    (b"GIF89a", MediaKind.IMAGE, ".gif"),
    (b"II*\0", MediaKind.IMAGE, ".tiff"),
    (b"MM\0*", MediaKind.IMAGE, ".tiff"),
    (b"v/1\x01", MediaKind.IMAGE, ".exr"),
    (b"fLaC", MediaKind.AUDIO, ".flac"),
    (b"OggS", MediaKind.AUDIO, ".ogg"),
    (b"ID3", MediaKind.AUDIO, ".mp3"),
    (b"FLV\x01", MediaKind.VIDEO, ".flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", MediaKind.VIDEO, ".wmv"),  # ASF: Windows Media
    (b"\0\0\x01\xba", MediaKind.VIDEO, ".mpg"),  # MPEG program stream
    (b"\0\0\x01\xb3", MediaKind.VIDEO, ".mpg"),  # MPEG-1 or -2 video alone
)
# QuickTime of before 2001, and of cameras, begins with any of these instead of `ftyp`.
# Source: QuickTime File Format, "Atoms"; FFmpeg libavformat/mov.c, mov_probe.
_OLD_QUICKTIME: Final = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_PACKET_BYTES: Final = {0: 188, 4: 192}  # of MPEG-TS: where its first sync byte stands -> how far the next is
_TGA_KINDS: Final = (2, 3, 10, 11)  # true colour and grey, plain and run-length
_RIFF: Final = {
    b"WEBP": MediaType(kind=MediaKind.IMAGE, suffix=".webp"),
    b"AVI ": MediaType(kind=MediaKind.VIDEO, suffix=".avi"),
    b"WAVE": MediaType(kind=MediaKind.AUDIO, suffix=".wav"),
}


def sniff(head: bytes) -> MediaType | None:
    """The kind of a picture, video or sound; None for anything else.

    Args:
        head: the file's first `HEAD_BYTES`, or all of a shorter one.
    """
    for start, kind, suffix in _STARTS:
        if head.startswith(start):
            return MediaType(kind=kind, suffix=suffix)
    return next((found for look in _STRUCTURES if (found := look(head)) is not None), None)


def _riff(head: bytes) -> MediaType | None:
    return _RIFF.get(head[8:12]) if head[:4] == b"RIFF" else None


def _bmp(head: bytes) -> MediaType | None:
    if head[:2] == b"BM" and len(head) > 14 and head[14] in (12, 40, 52, 56, 64, 108, 124):
        return MediaType(kind=MediaKind.IMAGE, suffix=".bmp")
    return None


def _matroska(head: bytes) -> MediaType | None:
    if head[:4] != b"\x1a\x45\xdf\xa3":
        return None
    return MediaType(kind=MediaKind.VIDEO, suffix=".webm" if b"webm" in head[:64] else ".mkv")


def _boxes(head: bytes) -> MediaType | None:
    """MP4 and QuickTime."""
    if head[4:8] in _OLD_QUICKTIME:
        return MediaType(kind=MediaKind.VIDEO, suffix=".mov")
    return _iso_media(head[8:12]) if head[4:8] == b"ftyp" else None


def _aiff(head: bytes) -> MediaType | None:
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return MediaType(kind=MediaKind.AUDIO, suffix=".aiff")
    return None


def _iso_media(brand: bytes) -> MediaType | None:
    if brand in (b"M4A ", b"M4B "):
        return MediaType(kind=MediaKind.AUDIO, suffix=".m4a")
    if brand in (b"avif", b"avis"):
        return MediaType(kind=MediaKind.IMAGE, suffix=".avif")
    if brand in (b"heic", b"heix", b"mif1"):
        return None  # pictures that ComfyUI's loaders do not read
    return MediaType(kind=MediaKind.VIDEO, suffix=".mov" if brand == b"qt  " else ".mp4")


def _mpeg_sound(head: bytes) -> MediaType | None:
    """An MPEG sound frame has no name, only eleven set bits and a layer that is not the reserved one."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if (head[1] >> 1) & 3 == 0:
        return MediaType(kind=MediaKind.AUDIO, suffix=".aac") if head[1] & 0xF6 == 0xF0 else None
    return MediaType(kind=MediaKind.AUDIO, suffix=".mp3")


def _transport_stream(head: bytes) -> MediaType | None:
    """MPEG-TS, and the M2TS and MTS of cameras, which put four bytes of time before each packet."""
    for first, step in _PACKET_BYTES.items():
        if head[first : first + 2 * step + 1 : step] == b"GGG":
            return MediaType(kind=MediaKind.VIDEO, suffix=".ts")
    return None


def _tga(head: bytes) -> MediaType | None:
    """TGA has no name: no colour map, a size, and a depth and flags that exist."""
    if len(head) < 18 or head[1] != 0 or head[2] not in _TGA_KINDS or any(head[3:8]):
        return None
    width, height = (int.from_bytes(head[at : at + 2], "little") for at in (12, 14))
    exists = width > 0 and height > 0 and head[16] in (8, 16, 24, 32) and head[17] & 0xC0 == 0
    return MediaType(kind=MediaKind.IMAGE, suffix=".tga") if exists else None


# Formats whose first bytes alone do not tell; the weakest signs come last.
_STRUCTURES: Final = (_riff, _bmp, _matroska, _boxes, _aiff, _transport_stream, _mpeg_sound, _tga)
