"""A file of each kind that is taken as an input is one that a real ComfyUI loads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import av
import pytest
from PIL import Image

from tests.support.clips import make_clip, make_sound
from tests.support.environment import real_comfyui_named
from tests.support.whole_farm import WholeFarm

_RENDER_S: Final = 240.0  # of the first job of a real ComfyUI on a CPU, from a cold page cache


def picture(path: Path) -> Path:
    """Noise, as its name's ending says."""
    Image.effect_noise((64, 48), 80).convert("RGB").save(path)
    return path


def old_quicktime(path: Path) -> Path:
    """A clip that begins with its pictures instead of `ftyp`, as old cameras write it."""
    content = make_clip(path, frames=9, options={"movflags": "faststart"}).read_bytes()
    length = int.from_bytes(content[:4], "big")
    # The length of what goes is kept by a box that says nothing, so that no picture moves.
    path.write_bytes(length.to_bytes(4, "big") + b"free" + bytes(length - 8) + content[length:])
    return path


def as_container(container: str, encoder: str) -> Callable[[Path], Path]:
    """A clip in a container that its name's ending does not tell."""

    def make(path: Path) -> Path:
        with av.open(str(path), "w", format=container) as file:
            stream = file.add_stream(encoder, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(9):
                drawn = Image.new("RGB", (64, 48), (number * 20, 90, 200))
                frame = av.VideoFrame.from_image(drawn)  # type: ignore[no-untyped-call]
                file.mux(stream.encode(frame.reformat(format="yuv420p")))
            file.mux(stream.encode())
        return path

    return make


# What it is -> the name of the file, how it is made, the node that loads it, and its input.
_KINDS: Final[Mapping[str, tuple[str, Callable[[Path], Path], str]]] = {
    "png": ("a.png", picture, "image"),
    "jpeg": ("a.jpg", picture, "image"),
    "webp": ("a.webp", picture, "image"),
    "bmp": ("a.bmp", picture, "image"),
    "tiff": ("a.tiff", picture, "image"),
    "avif": ("a.avif", picture, "image"),
    "tga": ("a.tga", picture, "image"),
    "mp4": ("a.mp4", lambda path: make_clip(path, frames=9), "video"),
    "quicktime": ("a.mov", lambda path: make_clip(path, frames=9), "video"),
    "quicktime without ftyp": ("a.mov", old_quicktime, "video"),
    "webm": ("a.webm", lambda path: make_clip(path, frames=9), "video"),
    "mkv": ("a.mkv", lambda path: make_clip(path, frames=9), "video"),
    "avi": ("a.avi", lambda path: make_clip(path, frames=9), "video"),
    "mpeg-ts": ("a.ts", as_container("mpegts", "libx264"), "video"),
    "mpeg-ps": ("a.mpg", as_container("vob", "mpeg2video"), "video"),
    "wmv": ("a.wmv", as_container("asf", "wmv2"), "video"),
    "flv": ("a.flv", as_container("flv", "libx264"), "video"),
    "wav": ("a.wav", lambda path: make_sound(path, encoder="pcm_s16le"), "audio"),
    "mp3": ("a.mp3", lambda path: make_sound(path, encoder="libmp3lame"), "audio"),
    "flac": ("a.flac", lambda path: make_sound(path, encoder="flac"), "audio"),
    "opus": ("a.opus", lambda path: make_sound(path, encoder="libopus"), "audio"),
    "m4a": ("a.m4a", lambda path: make_sound(path, encoder="aac"), "audio"),
    "aiff": ("a.aiff", lambda path: make_sound(path, encoder="pcm_s16be"), "audio"),
}
_GRAPHS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "image": (
        "1.image",
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        },
    ),
    "video": (
        "1.file",
        {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "x.mp4"}},
            "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
        },
    ),
    "audio": (
        "1.audio",
        {
            "1": {"class_type": "LoadAudio", "inputs": {"audio": "x.wav"}},
            "2": {"class_type": "SaveAudio", "inputs": {"audio": ["1", 0], "filename_prefix": "x"}},
        },
    ),
}


@pytest.fixture(scope="module")
def real_farm(lasting_farm: WholeFarm) -> WholeFarm:
    """A farm whose worker owns the ComfyUI that the environment names."""
    lasting_farm.start_worker("a", **real_comfyui_named())
    return lasting_farm


@pytest.mark.skipif(not os.environ.get("COMFYUI_DIR"), reason="COMFYUI_DIR names no ComfyUI")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", _KINDS)
def test_a_file_that_is_taken_is_one_that_comfyui_loads(
    real_farm: WholeFarm, tmp_path: Path, name: str
) -> None:
    file, make, kind = _KINDS[name]
    input_path, graph = _GRAPHS[kind]

    job = real_farm.farm.submit(graph, inputs={input_path: make(tmp_path / file)})

    job.wait(_RENDER_S)
    count = len(job.result().facts.artifacts)
    assert count == {"image": 1, "video": 9, "audio": 1}[kind]
