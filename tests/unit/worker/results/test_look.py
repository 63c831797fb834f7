"""Frames of real files are measured, and bad clips told from good ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from comfy.doctor.clip import Expected, Thresholds, faults_of
from comfy.doctor.diagnose import diagnose
from comfy.emulator.clips import write_clip
from comfy.emulator.values import Images, Story
from comfy.wan.templates import get_template
from tests.support.clips import make_clip
from worker.results.media import decode, inspect

SIZE = (320, 192)
Drawn = Callable[[int], Image.Image]


def clip_of(path: Path, drawn: Drawn, *, frames: int = 33, fps: int = 16) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_image(drawn(number))  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def noise(number: int) -> Image.Image:
    return Image.frombytes("RGB", SIZE, random.Random(number).randbytes(SIZE[0] * SIZE[1] * 3))


def blotches(number: int) -> Image.Image:
    """What a latent of noise becomes in the VAE: noise of eight pixels."""
    small = Image.frombytes("RGB", (40, 24), random.Random(number).randbytes(40 * 24 * 3))
    return small.resize(SIZE, Image.Resampling.NEAREST)


def scene(number: int) -> Image.Image:
    picture = Image.linear_gradient("L").resize(SIZE).convert("RGB")
    ImageDraw.Draw(picture).ellipse((20 + number * 3, 60, 90 + number * 3, 130), fill=(200, 90, 30))
    return picture


def foliage(number: int) -> Image.Image:
    """Fine detail that moves: the picture that is most like noise."""
    big = Image.frombytes("L", (400, 240), random.Random(1).randbytes(400 * 240))
    soft = big.filter(ImageFilter.GaussianBlur(4)).point(
        lambda value: max(0, min(255, (value - 128) * 4 + 128))
    )
    return soft.crop((number, 0, number + SIZE[0], SIZE[1])).convert("RGB")


def grainy_night(number: int) -> Image.Image:
    grain = Image.frombytes("L", SIZE, random.Random(number).randbytes(SIZE[0] * SIZE[1]))
    dark = scene(number).convert("L").point(lambda value: value // 6)
    return ImageChops.add(dark, grain.point(lambda value: value // 24)).convert("RGB")


def patches(number: int) -> Image.Image:
    picture = scene(number)
    ImageDraw.Draw(picture).rectangle((120, 48, 199, 107), fill=(0, 0, 0))
    return picture.point(lambda value: value)


def letterbox(number: int) -> Image.Image:
    picture = scene(number)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, SIZE[0], 24), fill=(0, 0, 0))
    draw.rectangle((0, SIZE[1] - 24, SIZE[0], SIZE[1]), fill=(0, 0, 0))
    return picture


def bright(drawn: Drawn) -> Drawn:
    return lambda number: drawn(number).point(lambda value: value and min(255, value // 2 + 120))


def faults(path: Path, expected: Expected = Expected(), limits: Thresholds = Thresholds()) -> list[str]:  # noqa: B008
    decoded = decode(path, inspect(path))
    assert decoded is not None
    assert decoded.look is not None
    return [fault.id for fault in faults_of(decoded.look, expected, limits)]


@pytest.mark.parametrize(
    ("drawn", "found"),
    [
        (lambda _number: Image.new("RGB", SIZE), ["video-black"]),
        (lambda _number: Image.new("RGB", SIZE, (60, 120, 180)), ["video-one-colour"]),
        (noise, ["video-noise"]),
        (blotches, ["video-noise"]),
        (lambda _number: scene(0), ["video-frozen"]),
        (bright(patches), ["video-patches"]),
        (scene, []),
        (foliage, []),
        (grainy_night, []),
        (bright(letterbox), []),
        (lambda number: scene(number) if number > 2 else Image.new("RGB", SIZE), []),
    ],
    ids=["black", "one colour", "noise", "blotches", "frozen", "patches", "scene", "foliage", "grainy night",
         "letterbox", "fade in"],
)  # fmt: skip
def test_a_bad_clip_is_told_from_a_good_one(tmp_path: Path, drawn: Drawn, found: list[str]) -> None:
    assert faults(clip_of(tmp_path / "clip.mp4", drawn)) == found


def test_thresholds_can_be_set(tmp_path: Path) -> None:
    clip = clip_of(tmp_path / "clip.mp4", lambda _number: Image.new("RGB", SIZE, (9, 9, 9)))

    assert faults(clip) == ["video-one-colour"]
    assert faults(clip, limits=Thresholds(black_mean=12.0)) == ["video-black"]


def test_the_file_is_held_against_what_was_asked_for(tmp_path: Path) -> None:
    clip = clip_of(tmp_path / "clip.mp4", scene)

    assert faults(clip, Expected(width=320, height=192, count=33, fps=16.0)) == []
    assert faults(clip, Expected(width=832, height=480, count=81, fps=24.0, audio=True)) == [
        "video-wrong-size", "video-wrong-length", "video-wrong-rate", "video-silent",
    ]  # fmt: skip


def test_a_graph_says_what_its_clip_should_be(tmp_path: Path) -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="a fox", width=320, height=192, frames=33).graph
    good = decode(path := make_clip(tmp_path / "a.mp4", frames=33, fps=16, size=SIZE), inspect(path))
    short = decode(path := make_clip(tmp_path / "b.mp4", frames=21, fps=16, size=SIZE), inspect(path))
    assert good is not None
    assert short is not None
    assert good.look is not None
    assert short.look is not None

    ids = [
        [each.id for each in diagnose(graph=graph, clips=[look]).findings] for look in (good.look, short.look)
    ]

    assert "video-wrong-length" not in ids[0]
    assert "video-wrong-length" in ids[1]


def test_a_long_clip_is_looked_at_in_a_sample(tmp_path: Path) -> None:
    path = clip_of(tmp_path / "clip.mp4", scene, frames=120)

    decoded = decode(path, inspect(path))

    assert decoded is not None
    assert decoded.look is not None
    assert len(decoded.look.frames) == 24


@pytest.mark.parametrize("size", [(64, 64), (480, 272)])
def test_nothing_is_wrong_with_what_the_emulator_draws(tmp_path: Path, size: tuple[int, int]) -> None:
    for seed in range(24):
        story = Story(prompt="a fox " * 9, seed=seed, steps=("4 steps",))
        images = Images(width=size[0], height=size[1], count=5, story=story)
        path = tmp_path / f"{seed}.mp4"
        write_clip(path, images, Fraction(16))

        assert faults(path) == [], seed
