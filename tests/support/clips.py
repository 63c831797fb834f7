"""Small real media files, drawn on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

from comfy.emulator.clips import kept_scheduling

_SAMPLE_RATE = 48000
PNG_HEAD = b"\x89PNG\r\n\x1a\n"  # for who does not look further

_ENCODERS = {".webm": "libvpx-vp9", ".gif": "gif"}  # all others: libx264
_PIXEL_FORMATS = {"gif": "rgb8", "prores": "yuv422p10le", "mjpeg": "yuvj420p"}  # all others: yuv420p
_QUICK = {
    "libsvtav1": {"preset": "12"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
}


@kept_scheduling()
def make_clip(
    path: Path,
    *,
    frames: int = 17,
    fps: int = 16,
    size: tuple[int, int] = (96, 64),
    sound: bool = False,
    sound_s: float | None = None,
    options: dict[str, str] | None = None,
    keyframe_every: int | None = None,
    encoder: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A clip whose colour changes with each frame; its format is that of the name's ending.

    Its sound is as long as the clip, or `sound_s`: at 0 a file announces one and holds none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = encoder or _ENCODERS.get(path.suffix, "libx264")
    pixel_format = _PIXEL_FORMATS.get(encoder, "yuv420p")
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(encoder, rate=fps, options=dict(_QUICK.get(encoder, {})))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        if keyframe_every is not None:
            stream.codec_context.gop_size = keyframe_every
        audio = None
        if sound:
            audio = container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=_SAMPLE_RATE)
        for number in range(frames):
            picture = Image.new("RGB", size, (number * 13 % 256, 90, 200))
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame.reformat(format=pixel_format)))
        container.mux(stream.encode())
        if isinstance(audio, AudioStream):
            seconds = frames / fps if sound_s is None else sound_s
            for frame in _silence(round(_SAMPLE_RATE * seconds)):
                container.mux(audio.encode(frame))
            if seconds:
                container.mux(audio.encode())
    return path


def make_sound(path: Path, *, encoder: str, metadata: Mapping[str, str] | None = None) -> Path:
    """A tenth of a second of silence; its format is that of the name's ending."""
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(encoder, rate=_SAMPLE_RATE)
        assert isinstance(stream, AudioStream)
        fitting = AudioResampler(
            format=stream.codec_context.format,
            layout="stereo",
            frame_size=stream.codec_context.frame_size or None,
        )
        for frame in _silence(_SAMPLE_RATE // 10):
            for fitted in fitting.resample(frame):
                container.mux(stream.encode(fitted))
        for fitted in fitting.resample(None):
            container.mux(stream.encode(fitted))
        container.mux(stream.encode())
    return path


def _silence(samples: int) -> Iterator[AudioFrame]:
    for start in range(0, samples, 1024):
        frame = AudioFrame(format="fltp", layout="stereo", samples=1024)
        frame.sample_rate, frame.pts, frame.time_base = _SAMPLE_RATE, start, Fraction(1, _SAMPLE_RATE)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        yield frame


def make_picture(path: Path, *, size: tuple[int, int] = (64, 48), frames: int = 1) -> Path:
    """A picture; with more frames an animated one (WEBP, PNG)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [Image.new("RGB", size, (number * 25 % 256, 10, 60)) for number in range(frames)]
    if frames == 1:
        pictures[0].save(path)
    else:
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    return path


def cut(path: Path, share: float) -> Path:
    """Cut a file in place to a share of its length."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def blank_tail(path: Path, share: float) -> Path:
    """Fill a file with zeros from a share of its length on, as a power cut may leave it."""
    content = path.read_bytes()
    kept = int(len(content) * share)
    path.write_bytes(content[:kept] + bytes(len(content) - kept))
    return path
