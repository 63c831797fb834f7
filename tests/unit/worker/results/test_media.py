"""What a file is, and whether all of it is there."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest
from PIL import Image

from farm.job import VideoFacts
from tests.support.clips import blank_tail, cut, make_clip, make_picture, make_sound
from worker.errors import BrokenOutput
from worker.results import video
from worker.results.media import ImageFacts, decode, inspect, probe

FAST_START = {"movflags": "+faststart"}
FRAGMENTED = {"movflags": "+frag_keyframe+empty_moov"}


def poster(path: Path) -> bytes | None:
    decoded = decode(path, inspect(path))
    return None if decoded is None else decoded.poster


def test_the_facts_of_a_clip_are_those_of_the_file(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=33, fps=16, size=(320, 192))

    facts = probe(clip)

    assert facts.duration_s == pytest.approx(33 / 16, abs=0.01)
    assert facts == VideoFacts(
        codec="h264",
        width=320,
        height=192,
        frames=33,
        fps=16.0,
        duration_s=facts.duration_s,
        pixel_format="yuv420p",
        has_audio=False,
    )


@pytest.mark.parametrize("ending", [".webm", ".mkv", ".mov", ".gif"])
def test_frames_are_counted_where_no_header_says_them(tmp_path: Path, ending: str) -> None:
    assert probe(make_clip(tmp_path / f"clip{ending}", frames=21)).frames == 21


@pytest.mark.parametrize(
    ("encoder", "ending", "name"),
    [
        ("libx264", ".mp4", "h264"),
        ("libx265", ".mp4", "hevc"),
        ("libsvtav1", ".webm", "av1"),
        ("libvpx", ".webm", "vp8"),
        ("libvpx-vp9", ".webm", "vp9"),
        ("prores", ".mov", "prores"),
        ("ffv1", ".mkv", "ffv1"),
        ("mjpeg", ".avi", "mjpeg"),
        ("gif", ".gif", "gif"),
    ],
)
def test_a_codec_has_its_own_name_not_that_of_its_decoder(
    tmp_path: Path, encoder: str, ending: str, name: str
) -> None:
    clip = make_clip(tmp_path / f"clip{ending}", frames=3, encoder=encoder)

    assert probe(clip).codec == name


@pytest.mark.parametrize(
    ("encoder", "ending", "name"),
    [
        ("libmp3lame", ".mp3", "mp3"),
        ("libopus", ".opus", "opus"),
        ("libopus", ".ogg", "opus"),
        ("flac", ".flac", "flac"),
        ("aac", ".m4a", "aac"),
    ],
)
def test_a_sound_codec_has_its_own_name_too(tmp_path: Path, encoder: str, ending: str, name: str) -> None:
    audio = inspect(make_sound(tmp_path / f"a{ending}", encoder=encoder)).audio

    assert audio is not None
    assert audio.codec == name


def test_sound_is_noticed(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", sound=True)

    assert probe(clip).has_audio
    assert poster(clip) is not None


@pytest.mark.parametrize("name", ["clip.webp", "clip.png"])
def test_an_animated_picture_is_a_video(tmp_path: Path, name: str) -> None:
    facts = probe(make_picture(tmp_path / name, frames=8))

    assert (facts.frames, facts.fps, facts.duration_s) == (8, 10.0, 0.8)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "png"), ("a.jpg", "jpeg"), ("a.webp", "webp"), ("a.bmp", "bmp")]
)
def test_a_picture_has_a_size_and_no_poster(tmp_path: Path, name: str, kind: str) -> None:
    picture = make_picture(tmp_path / name, size=(64, 48))

    inspected = inspect(picture)

    assert inspected.image == ImageFacts(format=kind, width=64, height=48)
    assert decode(picture, inspected) is None


def test_a_sound_file_has_a_length(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))

    audio = inspect(tmp_path / "a.wav").audio

    assert audio is not None
    assert audio.duration_s == pytest.approx(1.0)


def test_a_poster_is_a_later_frame_at_most_640_wide(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=12, size=(1280, 704))

    picture = poster(clip)

    assert picture is not None
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("JPEG", (640, 352))
        red, _, _ = image.convert("RGB").getpixel((10, 10))  # type: ignore[misc]
    assert red == pytest.approx(4 * 13, abs=6)  # the fourth frame of twelve, by its colour


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif"])
def test_a_clip_with_many_keyframes_has_a_poster_too(tmp_path: Path, ending: str) -> None:
    assert poster(make_clip(tmp_path / f"clip{ending}", frames=40, keyframe_every=5)) is not None


def test_a_clip_too_large_to_decode_still_has_a_poster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_DECODE_BYTES", 10)

    assert poster(make_clip(tmp_path / "clip.mp4", frames=40)) is not None


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mp4", FAST_START),
        ("clip.mp4", FRAGMENTED),
        ("clip.mov", {}),
        ("clip.webm", {}),
        ("clip.mkv", {}),
        ("clip.gif", {}),
    ],
    ids=["mp4", "mp4 faststart", "mp4 fragmented", "mov", "webm", "mkv", "gif"],
)
def test_a_clip_that_was_cut_short_is_found(
    tmp_path: Path, name: str, options: dict[str, str], share: float
) -> None:
    clip = cut(make_clip(tmp_path / name, frames=33, options=options), share)

    with pytest.raises(BrokenOutput, match=name):
        inspect(clip)


@pytest.mark.parametrize("name", ["clip.webp", "clip.png", "still.jpg"])
def test_a_picture_that_was_cut_short_is_found(tmp_path: Path, name: str) -> None:
    picture = cut(make_picture(tmp_path / name, frames=1 if "still" in name else 6), 0.6)

    with pytest.raises(BrokenOutput, match=name):
        inspect(picture)


@pytest.mark.parametrize("options", [{}, FAST_START, FRAGMENTED], ids=["plain", "faststart", "fragmented"])
def test_a_clip_whose_tail_is_blank_is_found(tmp_path: Path, options: dict[str, str]) -> None:
    clip = blank_tail(make_clip(tmp_path / "clip.mp4", frames=33, options=options), 0.5)

    with pytest.raises(BrokenOutput):
        decode(clip, inspect(clip))


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.png", "a.wav"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"<html>not found</html>" * 100, "cannot be read|no whole picture")],
    ids=["empty", "a web page"],
)
def test_what_is_no_media_file_is_found(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BrokenOutput, match=reason):
        inspect(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenOutput, match=r"output clip\.mp4 .* no such file"):
        inspect(tmp_path / "clip.mp4")


def test_a_sound_file_by_a_videos_name_is_found(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    (tmp_path / "a.wav").rename(tmp_path / "a.mp4")

    with pytest.raises(BrokenOutput, match="no video stream"):
        inspect(tmp_path / "a.mp4")


def test_other_files_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "latent.safetensors").write_bytes(b"x")

    inspected = inspect(tmp_path / "latent.safetensors")

    assert (inspected.video, inspected.image, inspected.audio) == (None, None, None)
