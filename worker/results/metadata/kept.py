"""Which metadata stay: what a player needs, and what says that a file is no real render."""

from __future__ import annotations

from typing import Final

from PIL import Image

from comfy.emulator.banner import BANNER

# A technical word is short: who puts a graph under "encoder" is not taken in.
_TECHNICAL_BYTES: Final = 200
_TECHNICAL: Final = frozenset(
    {
        "alpha_mode",
        "bps",
        "compatible_brands",
        "creation_time",
        "duration",
        "encoder",
        "encoder_options",
        "handler_name",
        "language",
        "major_brand",
        "minor_version",
        "number_of_bytes",
        "number_of_frames",
        "rotate",
        "stereo_mode",
        "timecode",
        "vendor_id",
        "©enc",
        "©swr",
        "©too",
    }
)
_BANNER: Final = BANNER.encode()
_ORIENTATION: Final = 0x0112  # of EXIF


def stays(key: str, value: bytes) -> bool:
    """Whether an entry of this name and content stays."""
    return says_emulated(value) or (key.lower() in _TECHNICAL and len(value) <= _TECHNICAL_BYTES)


def says_emulated(value: bytes) -> bool:
    """Whether it is the emulator's word that this is no render."""
    return _BANNER in value and len(value) <= _TECHNICAL_BYTES


def plain_exif(given: bytes) -> bytes:
    """EXIF data that only say how the picture is to be turned, ``Exif\\0\\0`` before them; else empty.

    Args:
        given: as it stood in the file, with or without ``Exif\\0\\0`` before it.
    """
    old = Image.Exif()
    try:
        old.load(given)
        turned = old.get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - Pillow raises whatever it met in a stranger's bytes
        return b""
    if turned not in range(2, 9):
        return b""
    new = Image.Exif()
    new[_ORIENTATION] = turned
    return new.tobytes()
