from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageChops

from comfy.emulator.clips import AV1, H264, H265, VP9, Codec, pad_clip, write_animation, write_clip, write_png
from comfy.emulator.pictures import draw_frame, preview_jpeg
from comfy.emulator.values import Images, Story

_STORY = Story(prompt="a fox " * 40, seed=7, steps=("4 steps",))


def images(**more: int) -> Images:
    return Images(**{"width": 96, "height": 64, "count": 5, **more}, story=_STORY)


@pytest.mark.parametrize("codec", [H264, H265, VP9, AV1], ids=lambda codec: str(codec.name))
def test_a_clip_has_the_asked_size_frames_and_pace(tmp_path: Path, codec: Codec) -> None:
    path = tmp_path / f"clip.{codec.extension}"
    counted: list[int] = []

    write_clip(
        path, images(), Fraction(16), codec=codec, metadata={"prompt": {"1": 2}}, on_frame=counted.append
    )

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (96, 64, Fraction(16))
        assert stream.pix_fmt == codec.pix_fmt
        assert len(list(container.decode(video=0))) == 5
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        assert json.loads(metadata["prompt"]) == {"1": 2}
        assert "EMULATED" in metadata["comment"]
    assert counted == [1, 2, 3, 4, 5]


@pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler"), reason="only Linux tells how a thread is scheduled"
)
@pytest.mark.parametrize("codec", [H264, H265, VP9, AV1], ids=lambda codec: str(codec.name))
def test_the_thread_that_encoded_is_no_more_urgent_than_before(tmp_path: Path, codec: Codec) -> None:
    before = os.sched_getscheduler(0)

    write_clip(tmp_path / f"clip.{codec.extension}", images(), Fraction(16), codec=codec)

    assert os.sched_getscheduler(0) == before


def test_the_index_of_an_mp4_is_in_front(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", images(), Fraction(16))

    content = (tmp_path / "clip.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_padded_clip_has_the_size_and_plays_as_before(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, images(), Fraction(16))

    pad_clip(path, 3_000_000)

    assert path.stat().st_size == 3_000_000
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 5


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (832, 480), (480, 832), (1280, 704)])
def test_every_frame_is_written_on(size: tuple[int, int]) -> None:
    width, height = size
    plain = draw_frame(Images(width=width, height=height, count=2, story=Story(seed=7)), 0)
    frame = draw_frame(images(width=width, height=height), 1)

    assert frame.size == size
    assert (20, 20, 20) in {colour for _, colour in frame.getcolors(width * height) or ()}
    yellow = [colour for _, colour in plain.getcolors(width * height) or () if _is_yellow(colour)]
    assert yellow


def _is_yellow(colour: Any) -> bool:
    red, green, blue = colour
    return bool(red > 180 and green > 150 and blue < 60)


def test_frames_move_and_seeds_differ() -> None:
    first, second = draw_frame(images(), 0), draw_frame(images(), 3)
    other = draw_frame(Images(width=96, height=64, count=5, story=Story(seed=8)), 0)
    corner = (60, 50, 96, 64)

    assert ImageChops.difference(first.crop(corner), second.crop(corner)).getbbox() is not None
    assert ImageChops.difference(first.crop(corner), other.crop(corner)).getbbox() is not None
    assert ImageChops.difference(first, draw_frame(images(), 0)).getbbox() is None


def test_a_preview_is_a_small_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "preview.jpg"
    path.write_bytes(preview_jpeg(_STORY, 1280, 720, 1, 4))

    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("JPEG", (512, 288))


@pytest.mark.parametrize("image_format", ["WEBP", "GIF"])
def test_an_animation_has_all_frames(tmp_path: Path, image_format: str) -> None:
    path = tmp_path / "a.bin"

    write_animation(path, images(), Fraction(8), image_format=image_format, metadata={"prompt": {}})

    with Image.open(path) as picture:
        assert (picture.size, getattr(picture, "n_frames", 1)) == ((96, 64), 5)


def test_a_png_carries_the_prompt(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", draw_frame(images(), 0), {"prompt": {"1": 2}})

    with Image.open(tmp_path / "a.png") as picture:
        assert json.loads(picture.info["prompt"]) == {"1": 2}
