"""What a file of ComfyUI's really is: facts read from the file itself, and whether it plays to its end.

A render may be cut short by a full disk or a dying process and still have a video's name and header.
`inspect` reads every packet (milliseconds) and finds that; `decode` goes on to the pictures themselves.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageSequence

from comfy.doctor.clip import ClipLook
from comfy.protocol.outputs import MediaKind, kind_of_name
from farm.job import VideoFacts
from worker.errors import BrokenOutput
from worker.results.look import FrameWatch
from worker.results.metadata import Metadata
from worker.results.video import MovieIndex, decode_movie, read_movie, read_sound
from worker.results.whole import check_whole

_POSTER_WIDTH: Final = 640  # pixels, at most
_POSTER_QUALITY: Final = 85
_POSTER_AT: Final = 1 / 3  # of the clip: its first frame is often black or still

_TICKS_S: Final = {"gif": 0.01, "webp": 0.001, "png": 0.001}  # of the delays that such a file can hold

_UNREAD: Final = ".exr"  # a picture that Pillow does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What was read in a picture that does not move."""

    format: str  # "png", "jpeg", "webp", …
    width: int  # pixels
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts:
    """What was read in a sound file."""

    codec: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """A whole file. At most one kind of facts is set; none for a kind of file that we do not read."""

    video: VideoFacts | None = None
    image: ImageFacts | None = None
    audio: AudioFacts | None = None
    metadata: Metadata | None = None  # what became of them; None: nobody has looked
    index: MovieIndex | None = None  # what `decode` needs to know of a movie's packets


def inspect(path: Path) -> Inspected:
    """Read a file's facts and make sure that none of it is missing; a name's ending says what it should be.

    Raises:
        BrokenOutput: it is missing, empty, cut short, or no file of that kind.
    """
    if not path.is_file():
        raise BrokenOutput(path.name, "there is no such file")
    if path.stat().st_size == 0:
        raise BrokenOutput(path.name, "it is empty")
    check_whole(path)
    kind = kind_of_name(path.name)
    if kind is MediaKind.IMAGE and path.suffix.lower() != _UNREAD:
        return _inspect_picture(path)
    if kind is MediaKind.VIDEO:
        index = read_movie(path)
        return Inspected(video=index.facts, index=index)
    if kind is MediaKind.AUDIO:
        codec, duration_s = read_sound(path)
        return Inspected(audio=AudioFacts(codec=codec, duration_s=duration_s))
    return Inspected()


def probe(path: Path) -> VideoFacts:
    """The facts of a video.

    Raises:
        BrokenOutput: it is none, or not a whole one.
    """
    found = inspect(path).video
    if found is None:
        raise BrokenOutput(path.name, "it is no video")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A video whose frames could be decoded."""

    poster: bytes  # a frame at about a third, as a JPEG at most 640 pixels wide
    look: ClipLook  # what was seen in its frames


def decode(path: Path, inspected: Inspected) -> Decoded | None:
    """Decode a video's beginning and end, which of a clip of WAN's is all of it, and look at its frames.

    Returns:
        None for what does not move: a picture is its own poster.

    Raises:
        BrokenOutput: a frame cannot be decoded.
    """
    if inspected.video is None:
        return None
    facts, watch = inspected.video, FrameWatch()
    tick_s = _TICKS_S.get(facts.codec, 0.0)
    if inspected.index is not None:
        poster = decode_movie(path, inspected.index, poster_at=_POSTER_AT, watch=watch.take)
    else:
        poster = _decode_animation(path, int(facts.frames * _POSTER_AT), watch)
    return Decoded(poster=_jpeg(poster), look=watch.result(path.name, facts, tick_s=tick_s))


def _decode_animation(path: Path, poster_at: int, watch: FrameWatch) -> Image.Image:
    with Image.open(path) as picture:
        poster: Image.Image = picture
        for number, frame in enumerate(ImageSequence.Iterator(picture)):
            watch.take_picture(frame)
            if number == poster_at:
                poster = frame.copy()
        return poster


def _inspect_picture(path: Path) -> Inspected:
    try:
        with Image.open(path) as picture:
            frames = int(getattr(picture, "n_frames", 1))
            if frames == 1:
                picture.load()
                name = str(picture.format).lower()
                return Inspected(image=ImageFacts(format=name, width=picture.width, height=picture.height))
            return Inspected(video=_animation_facts(picture))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as exc:
        # Pillow reports a broken PNG as SyntaxError, a truncated file as OSError.
        raise BrokenOutput(path.name, f"it is no whole picture ({exc})") from exc


def _animation_facts(picture: Image.Image) -> VideoFacts:
    """Facts of an animated WEBP or PNG, which FFmpeg's readers take for one still picture."""
    durations_ms = []
    for frame in ImageSequence.Iterator(picture):
        frame.load()
        durations_ms.append(float(frame.info.get("duration", 0.0)))
    total_s = sum(durations_ms) / 1000
    return VideoFacts(
        codec=str(picture.format).lower(),
        width=picture.width,
        height=picture.height,
        frames=len(durations_ms),
        fps=round(len(durations_ms) / total_s, 3) if total_s else 0.0,
        duration_s=round(total_s, 6),
        pixel_format=picture.mode.lower(),
    )


def _jpeg(picture: Image.Image) -> bytes:
    small = picture.convert("RGB")
    if small.width > _POSTER_WIDTH:
        height = max(1, round(small.height * _POSTER_WIDTH / small.width))
        small = small.resize((_POSTER_WIDTH, height), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_POSTER_QUALITY)
    return out.getvalue()
