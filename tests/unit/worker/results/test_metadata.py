"""The prompt goes out of every kind of file, and nothing else does."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from comfy.emulator.banner import BANNER
from tests.support.clips import make_clip, make_picture, make_sound
from tests.support.secrets_in_files import FILES, SECRET, frames_of, graph_text, has_secret
from worker.results.media import inspect
from worker.results.metadata import MetadataState, strip
from worker.results.whole import check_whole

_PLAYED = (".mp4", ".mov", ".m4a", ".mkv", ".webm", ".avi", ".flac", ".mp3", ".opus", ".wav")
_SHOWN = (".gif", ".png", ".webp", ".jpg", ".tiff", ".avif")
_UNMOVED = (*_PLAYED, ".avif", ".tiff", ".latent", ".safetensors", ".glb", ".exr")


def made(folder: Path, name: str, *, length: int = 400) -> Path:
    """A file of that kind with a prompt in it."""
    file, make = FILES[name]
    path = make(folder / file, graph_text(length))
    assert has_secret(path.read_bytes()), "the test's own file holds no prompt"
    return path


def played(path: Path) -> list[Any]:
    """Every packet of every stream, and what a decoder needs to begin."""
    with av.open(str(path)) as container:
        streams = [
            (each.type, each.codec_context.extradata, each.time_base, each.duration, each.frames)
            for each in container.streams
        ]
        packets = [
            (packet.stream.index, packet.pts, packet.dts, packet.duration, packet.is_keyframe, bytes(packet))
            for packet in container.demux()
        ]
        return [container.duration, container.start_time, streams, packets]


@pytest.mark.parametrize("length", [400, 300_000])
@pytest.mark.parametrize("name", FILES)
def test_no_prompt_is_left_in_a_file_and_its_content_is_the_same(
    tmp_path: Path, name: str, length: int
) -> None:
    path = made(tmp_path, name, length=length)
    before = played(path) if path.suffix in _PLAYED else frames_of(path) if path.suffix in _SHOWN else None
    size = path.stat().st_size

    assert strip(path).state is MetadataState.REMOVED

    content = path.read_bytes()
    assert not has_secret(content)
    assert b"class_type" not in content
    check_whole(path)
    if path.suffix in _PLAYED:
        assert played(path) == before
    elif path.suffix in _SHOWN:
        assert frames_of(path) == before
    if path.suffix in _UNMOVED:
        assert len(content) == size
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cleaned_is_not_touched_again(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name)
    strip(path)
    cleaned, written = path.read_bytes(), path.stat().st_mtime_ns

    assert strip(path).state is MetadataState.NONE

    assert (path.read_bytes(), path.stat().st_mtime_ns) == (cleaned, written)


# Not of a GIF with XMP: FFmpeg takes that for a picture.
@pytest.mark.parametrize(
    "name", [each for each in FILES if FILES[each][0].endswith((*_PLAYED, *_SHOWN)) and each != "gif"]
)
def test_the_facts_of_a_file_are_the_same(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name)
    before = inspect(path)

    strip(path)

    assert inspect(path) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: make_clip(folder / "a.mp4", sound=True),
        lambda folder: make_clip(folder / "a.mp4", options={"movflags": "+faststart"}),
        lambda folder: make_clip(folder / "a.mov"),
        lambda folder: make_clip(folder / "a.webm", sound=True),
        lambda folder: make_clip(folder / "a.mkv"),
        lambda folder: make_clip(folder / "a.avi"),
        lambda folder: make_clip(folder / "a.gif"),
        lambda folder: make_picture(folder / "a.png"),
        lambda folder: make_picture(folder / "a.png", frames=3),
        lambda folder: make_picture(folder / "a.webp"),
        lambda folder: make_picture(folder / "a.webp", frames=3),
        lambda folder: make_picture(folder / "a.jpg"),
        lambda folder: make_picture(folder / "a.tiff"),
        lambda folder: make_picture(folder / "a.bmp"),
        lambda folder: make_sound(folder / "a.flac", encoder="flac"),
        lambda folder: make_sound(folder / "a.mp3", encoder="libmp3lame"),
        lambda folder: make_sound(folder / "a.opus", encoder="libopus"),
        lambda folder: make_sound(folder / "a.wav", encoder="pcm_s16le"),
        lambda folder: make_sound(folder / "a.m4a", encoder="aac"),
    ],
)
def test_a_file_without_a_prompt_stays_as_it_was_written(tmp_path: Path, make: Any) -> None:
    path: Path = make(tmp_path)
    before = path.read_bytes()

    assert strip(path).state is MetadataState.NONE

    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_what_says_that_a_clip_is_emulated_stays(tmp_path: Path, ending: str) -> None:
    told = f"{BANNER}: drawn by comfy.emulator"
    path = make_clip(
        tmp_path / f"a{ending}",
        metadata={"prompt": graph_text(), "comment": told},
        options={"movflags": "use_metadata_tags+faststart"} if ending in (".mp4", ".mov") else None,
    )

    strip(path)

    with av.open(str(path)) as container:
        metadata = {name.lower(): value for name, value in container.metadata.items()}
    assert metadata["comment"] == told
    assert not any("class_type" in value for value in metadata.values())


@pytest.mark.parametrize("ending", [".jpg", ".webp", ".png"])
def test_a_picture_that_is_to_be_turned_still_is(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, SECRET
    path = tmp_path / f"a{ending}"
    Image.new("RGB", (8, 4)).save(path, exif=exif)

    strip(path)

    with Image.open(path) as picture:
        assert dict(picture.getexif()) == {0x0112: 6}
    assert strip(path).state is MetadataState.NONE


@pytest.mark.parametrize("ending", [".jpg", ".webp", ".png"])
def test_a_colour_profile_stays(tmp_path: Path, ending: str) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / f"a{ending}"
    exif = Image.Exif()
    exif[0x0110] = SECRET
    Image.new("RGB", (8, 4)).save(path, icc_profile=profile, exif=exif)

    strip(path)

    with Image.open(path) as picture:
        assert picture.info["icc_profile"] == profile


def test_a_model_keeps_what_loaders_go_by(tmp_path: Path) -> None:
    path = made(tmp_path, "model")

    strip(path)

    content = path.read_bytes()
    head = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert head["__metadata__"] == {"modelspec.title": "x"}
    assert head["latent_tensor"]["data_offsets"] == [0, 8]
    assert content.endswith(b"\1\2\3\4\5\6\7\x08")


def test_a_graph_in_a_file_of_an_unknown_kind_is_found_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(b"ply\n" + bytes(1 << 20) + graph_text().encode("utf-16-le"))
    before = path.read_bytes()

    found = strip(path)

    assert found.state is MetadataState.LEFT
    assert found.why is not None
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_left_or_cleaned_and_never_an_error(
    tmp_path: Path, name: str, share: float
) -> None:
    path = made(tmp_path, name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    assert strip(path).state in MetadataState


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_damaged_bytes_is_never_an_error(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name)
    content = bytearray(path.read_bytes())
    for number in range(0, min(len(content), 4000), 17):
        damaged = bytearray(content)
        damaged[number] ^= 0xFF
        path.write_bytes(damaged)

        assert strip(path).state in MetadataState


def test_a_png_keeps_whole_chunks(tmp_path: Path) -> None:
    path = made(tmp_path, "png")

    strip(path)

    content, at = path.read_bytes(), 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0]
        at += 12 + length
    assert kind == b"IEND"
