"""Frames of real files are measured, and bad clips told from good ones."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from comfy.doctor.clip import Expected, Thresholds, faults_of
from comfy.doctor.diagnose import diagnose
from comfy.emulator.clips import write_clip
from comfy.emulator.values import Images, Story
from comfy.wan.templates import get_template
from tests.support.clip_set import FEW, Encoding, KnownClip, plain, scene, write
from tests.support.clips import make_clip
from worker.results.media import decode, inspect, look_at_sequences


def faults(path: Path, expected: Expected = Expected(), limits: Thresholds = Thresholds()) -> list[str]:  # noqa: B008
    decoded = decode(path, inspect(path))
    assert decoded is not None
    return [fault.id for fault in faults_of(decoded.look, expected, limits)]


@pytest.mark.parametrize("clip", FEW, ids=str)
def test_a_bad_clip_is_told_from_a_good_one(tmp_path: Path, clip: KnownClip) -> None:
    assert faults(write(clip, tmp_path)) == ([clip.fault] if clip.fault else [])


def test_thresholds_can_be_set(tmp_path: Path) -> None:
    clip = write(KnownClip(name="dark", drawn=partial(plain, colour=(9, 9, 9))), tmp_path)

    assert faults(clip) == ["video-one-colour"]
    assert faults(clip, limits=Thresholds(black_mean=12.0)) == ["video-black"]


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("black", ""),
        ("black from the half on", " from frame 17 on"),
        ("frozen from the third frame on", " from frame 10 on"),  # they are held against the ninth
    ],
)
def test_it_is_said_from_which_frame_on_a_clip_is_bad(tmp_path: Path, name: str, since: str) -> None:
    clip = next(each for each in FEW if each.name == name)
    decoded = decode(path := write(clip, tmp_path), inspect(path))

    assert decoded is not None
    (fault,) = faults_of(decoded.look, Expected())
    assert fault.message.endswith(since)
    assert fault.whole is not bool(since)


@pytest.mark.parametrize("fps", [16, 24, 30])
@pytest.mark.parametrize("writer", ["FFmpeg", "Pillow"])
def test_a_gif_has_the_nearest_rate_that_it_can_hold(tmp_path: Path, fps: int, writer: str) -> None:
    path = tmp_path / "clip.gif"
    if writer == "FFmpeg":
        encoding = Encoding(encoder="gif", ending=".gif", crf=0, fps=fps)
        write(KnownClip(name="scene", drawn=scene, encoding=encoding), tmp_path)
    else:
        first, *others = map(scene, range(17))
        first.save(path, save_all=True, append_images=others, duration=1000 // fps)

    assert faults(path, Expected(fps=fps)) == []
    assert faults(path, Expected(fps=fps / 2)) == ["video-wrong-rate"]


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".mkv"])
def test_a_missing_sound_is_noticed(tmp_path: Path, ending: str) -> None:
    silent = make_clip(tmp_path / f"silent{ending}")
    announced = make_clip(tmp_path / f"announced{ending}", sound=True, sound_s=0)
    sounding = make_clip(tmp_path / f"sounding{ending}", sound=True)

    assert "video-silent" in faults(silent, Expected(audio=True))
    assert "video-silent" in faults(announced, Expected(audio=True))
    assert "video-silent" not in faults(sounding, Expected(audio=True))
    assert "video-silent" not in faults(silent)


def test_the_file_is_held_against_what_was_asked_for(tmp_path: Path) -> None:
    clip = write(KnownClip(name="scene", drawn=scene), tmp_path)

    assert faults(clip, Expected(width=160, height=96, count=33, fps=16.0)) == []
    assert faults(clip, Expected(width=832, height=480, count=81, fps=24.0, audio=True)) == [
        "video-wrong-size", "video-wrong-length", "video-wrong-rate", "video-silent",
    ]  # fmt: skip


def test_a_graph_says_what_its_clip_should_be(tmp_path: Path) -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="a fox", width=320, height=192, frames=33).graph
    good = decode(path := make_clip(tmp_path / "a.mp4", frames=33, fps=16, size=(320, 192)), inspect(path))
    short = decode(path := make_clip(tmp_path / "b.mp4", frames=21, fps=16, size=(320, 192)), inspect(path))
    assert good is not None
    assert short is not None

    ids = [
        [each.id for each in diagnose(graph=graph, clips=[look]).findings] for look in (good.look, short.look)
    ]

    assert "video-wrong-length" not in ids[0]
    assert "video-wrong-length" in ids[1]


@pytest.mark.parametrize(
    ("ending", "mode"), [(".png", "RGBA"), (".png", "I;16"), (".jpg", "L"), (".webp", "RGB")]
)
@pytest.mark.parametrize(("level", "fault"), [(0, "video-black"), (130, "video-one-colour")])
def test_a_clip_written_picture_by_picture_is_judged_by_them_alone(
    tmp_path: Path, ending: str, mode: str, level: int, fault: str
) -> None:
    paths = [tmp_path / f"frame_{number}{ending}" for number in range(17)]
    for path in paths:
        picture = (
            Image.new("I", (160, 96), level << 8) if mode == "I;16" else Image.new("L", (160, 96), level)
        )
        picture.convert(mode).save(path)

    (look,) = look_at_sequences(("9", path, inspect(path)) for path in paths)

    assert (look.count, len(look.frames)) == (17, 17)
    asked = Expected(width=832, height=480, count=81, fps=16.0, audio=True)
    assert [each.id for each in faults_of(look, asked)] == [fault]


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png", ".apng", ".avif"])
def test_an_animated_picture_is_judged_by_each_of_its_frames(tmp_path: Path, ending: str) -> None:
    first, *others = (scene(number) if number < 5 else plain(0, (0, 0, number % 2)) for number in range(17))
    path = tmp_path / f"clip{ending}"
    first.save(path, save_all=True, append_images=others, duration=62)

    assert faults(path, Expected(count=17, fps=16.0)) == ["video-black"]


def test_a_gif_that_stands_still_is_judged_by_its_one_picture(tmp_path: Path) -> None:
    pictures = [plain(0) for _ in range(17)]
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=60)

    assert faults(tmp_path / "clip.gif") == ["video-black"]


@pytest.mark.parametrize("keyframe_every", [None, 5])
def test_each_frame_is_looked_at_however_many_keyframes_there_are(
    tmp_path: Path, keyframe_every: int | None
) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=81, keyframe_every=keyframe_every)

    decoded = decode(path, inspect(path))

    assert decoded is not None
    assert len(decoded.look.frames) == 81


@pytest.mark.parametrize("size", [(64, 64), (480, 272)])
def test_nothing_is_wrong_with_what_the_emulator_draws(tmp_path: Path, size: tuple[int, int]) -> None:
    for seed in range(24):
        story = Story(prompt="a fox " * 9, seed=seed, steps=("4 steps",))
        images = Images(width=size[0], height=size[1], count=5, story=story)
        path = tmp_path / f"{seed}.mp4"
        write_clip(path, images, Fraction(16))

        assert faults(path) == [], seed
