"""What a file is, by its first bytes: names and headers that a stranger gives prove nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from comfy.protocol.outputs import MediaKind

HEAD_BYTES: Final = 64  # as many as `sniff` looks at


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
)
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
    return _by_structure(head)


def _by_structure(head: bytes) -> MediaType | None:
    """Formats whose first bytes alone do not tell."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[:2] == b"BM" and len(head) > 14 and head[14] in (12, 40, 52, 56, 64, 108, 124):
        return MediaType(kind=MediaKind.IMAGE, suffix=".bmp")
    if head[:4] == b"\x1a\x45\xdf\xa3":
        webm = b"webm" in head
        return MediaType(kind=MediaKind.VIDEO, suffix=".webm" if webm else ".mkv")
    if head[4:8] == b"ftyp":
        return _iso_media(head[8:12])
    # An MPEG sound frame has no name, only eleven set bits and a layer that is not the reserved one.
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _mpeg_sound(head[1])
    return None


def _iso_media(brand: bytes) -> MediaType | None:
    if brand in (b"M4A ", b"M4B "):
        return MediaType(kind=MediaKind.AUDIO, suffix=".m4a")
    if brand in (b"avif", b"heic", b"heix", b"mif1"):
        return None  # pictures that ComfyUI's loaders do not read
    return MediaType(kind=MediaKind.VIDEO, suffix=".mov" if brand == b"qt  " else ".mp4")


def _mpeg_sound(second: int) -> MediaType | None:
    layer = (second >> 1) & 3
    if layer == 0:
        return MediaType(kind=MediaKind.AUDIO, suffix=".aac") if second & 0xF6 == 0xF0 else None
    return MediaType(kind=MediaKind.AUDIO, suffix=".mp3")
