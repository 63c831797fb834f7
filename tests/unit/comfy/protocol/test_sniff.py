"""What a file is, by its first bytes."""

from __future__ import annotations

import pytest

from comfy.protocol.sniff import sniff
from tests.support.tables import for_each


@for_each(
    "head, suffix",
    [
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"RIFF\0\0\0\0WAVE", ".wav"),
        (b"RIFF\0\0\0\0WEBP", ".webp"),
        (b"\0\0\0\x20ftypisom", ".mp4"),
        (b"\0\0\0\x20ftypM4A ", ".m4a"),
        (b"\0\0\0\x14ftypqt  ", ".mov"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", ".webm"),
        (b"fLaC", ".flac"),
        (b"ID3\x04", ".mp3"),
        (b"\xff\xfb\x90", ".mp3"),
        (b"\xff\xf1P", ".aac"),
        (b"OggS", ".ogg"),
        (b"\0\0\0\x1cftypavif", ".avif"),
        (b"\0\0\x10\0moov\0\0\0\x6cmvhd", ".mov"),
        (b"\0\0\0\x08wide\0\x12\xd6\x87mdat", ".mov"),
        (b"\0\0\x01\xba\x44", ".mpg"),
        (b"FLV\x01\x05", ".flv"),
        (b"FORM\0\0\0\x20AIFFCOMM", ".aiff"),
        (b"FORM\0\0\0\x20AIFCFVER", ".aiff"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), ".wmv"),
        ((b"G" + bytes(187)) * 3, ".ts"),
        ((b"\0\1\2\3G" + bytes(187)) * 3, ".ts"),
        (bytes.fromhex("00000200000000000000 0000 4000 3000 18 20"), ".tga"),
        (bytes.fromhex("00000a00000000000000 0000 4000 3000 20 28"), ".tga"),
    ],
)
def test_first_bytes_say_what_a_file_is(head: bytes, suffix: str) -> None:
    found = sniff(head)

    assert found is not None
    assert found.suffix == suffix


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"<svg",
        b"%PDF-1.7",
        b"\0\0\0\x20ftypheic",
        b"RIFF\0\0\0\0XXXX",
        b"FORM\0\0\0\x20ILBM",
        b"Good day" + bytes(400),
        b"G" + bytes(100),
        bytes(512),
        bytes.fromhex("00000200000000000000 0000 0000 3000 18 20"),  # a TGA without a width
    ],
)
def test_other_bytes_are_no_media(head: bytes) -> None:
    assert sniff(head) is None
