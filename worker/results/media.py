"""What a file of ComfyUI's really is: facts read from the file itself, and whether it plays to its end.

A render may be cut short by a full disk or a dying process and still have a video's name and header.
`inspect` reads every packet (milliseconds) and finds that; `decode` goes on to the pictures themselves.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
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
from worker.results.video import DECODE_PIXELS, MovieIndex, decode_movie, read_movie, read_sound
from worker.results.whole import check_whole

_POSTER_WIDTH: Final = 640  # pixels, at most
_POSTER_QUALITY: Final = 85
_POSTER_AT: Final = 1 / 3  # of the clip: its first frame is often black or still

_TICKS_MS: Final = {"gif": 10}  # of the delays that such a file can hold; all other animations: 1
_MOST_SHOWN: Final = 10_000  # frames of an animation; a file that tells of more is not believed

_UNREAD: Final = ".exr"  # a picture that Pillow does not know
_SEQUENCE: Final = 5  # pictures of one node: as many frames has WAN's shortest clip


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
    shown: tuple[int, ...] = ()  # for how many frames each picture of an animation stands


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
    # FFmpeg takes the shortest delay of a GIF for all.
    if path.suffix.lower() == ".gif" or (kind is MediaKind.IMAGE and path.suffix.lower() != _UNREAD):
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
    if inspected.index is not None:
        tick_s = 0.0
        poster = decode_movie(path, inspected.index, poster_at=_POSTER_AT, watch=watch.take)
    else:
        tick_s = _tick_ms(facts.codec) / 1000
        poster = _decode_animation(path, inspected.shown, watch)
    return Decoded(poster=_jpeg(poster), look=watch.result(path.name, facts, tick_s=tick_s))


def look_at_sequences(pictures: Iterable[tuple[str, Path, Inspected]]) -> Iterator[ClipLook]:
    """Look at the frames of clips that were written picture by picture, in their order.

    They have no rate, and where Pillow cannot read them, no frames.

    Args:
        pictures: a name for whoever wrote it, the file, and what was found in it.
    """
    sequences: dict[tuple[str, ImageFacts | None], list[Path]] = {}
    for writer, path, inspected in pictures:
        if inspected.image is not None or path.suffix.lower() == _UNREAD:
            sequences.setdefault((writer, inspected.image), []).append(path)
    for (_, image), paths in sequences.items():
        if len(paths) >= _SEQUENCE:
            yield _look_at_pictures(paths, image or ImageFacts(format="exr", width=0, height=0))


def _look_at_pictures(paths: list[Path], image: ImageFacts) -> ClipLook:
    watch = FrameWatch()
    pixels = image.width * image.height
    for path in paths[: DECODE_PIXELS // pixels] if pixels else ():
        with Image.open(path) as picture:
            watch.take_picture(picture)
    facts = VideoFacts(
        codec=image.format,
        width=image.width,
        height=image.height,
        frames=len(paths),
        fps=0.0,
        duration_s=0.0,
        pixel_format=None,
    )
    return watch.result(f"{paths[0].name} to {paths[-1].name}", facts)


def _decode_animation(path: Path, shown: tuple[int, ...], watch: FrameWatch) -> Image.Image:
    poster: Image.Image | None = None
    number, poster_at = 0, int(sum(shown) * _POSTER_AT)
    with Image.open(path) as picture:
        for frame, times in zip(ImageSequence.Iterator(picture), shown, strict=True):
            for _ in range(times):
                watch.take_picture(frame)
            number += times
            if poster is None and number > poster_at:
                poster = frame.copy()
    if poster is None:
        raise BrokenOutput(path.name, "its frames cannot be decoded")
    return poster


def _inspect_picture(path: Path) -> Inspected:
    try:
        with Image.open(path) as picture:
            frames = int(getattr(picture, "n_frames", 1))
            if frames == 1 and picture.format != "GIF":  # of a clip that stands still a GIF keeps one
                picture.load()
                name = str(picture.format).lower()
                return Inspected(image=ImageFacts(format=name, width=picture.width, height=picture.height))
            return _inspect_animation(picture)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as exc:
        # Pillow reports a broken PNG as SyntaxError, a truncated file as OSError.
        raise BrokenOutput(path.name, f"it is no whole picture ({exc})") from exc


def _inspect_animation(picture: Image.Image) -> Inspected:
    """An animated WEBP or PNG, which FFmpeg's readers take for one still picture, or a GIF."""
    durations_ms = []
    for frame in ImageSequence.Iterator(picture):
        frame.load()
        durations_ms.append(float(frame.info.get("duration", 0.0)))
    codec = str(picture.format).lower()
    shown = _shown(durations_ms, _tick_ms(codec))
    total_s, frames = sum(durations_ms) / 1000, sum(shown)
    facts = VideoFacts(
        codec=codec,
        width=picture.width,
        height=picture.height,
        frames=frames,
        fps=round(frames / total_s, 3) if total_s else 0.0,
        duration_s=round(total_s, 6),
        pixel_format=picture.mode.lower(),
    )
    return Inspected(video=facts, shown=shown)


def _tick_ms(codec: str) -> int:
    return _TICKS_MS.get(codec, 1)


def _shown(durations_ms: list[float], tick_ms: int) -> tuple[int, ...]:
    """For how many frames each picture stands: writers keep one of those that are equal.

    Where the delays are no multiples of the shortest one, as set by hand, each stands for one.
    """
    once, shortest = (1,) * len(durations_ms), min(durations_ms)
    if shortest <= 0:
        return once
    times = tuple(round(each / shortest) for each in durations_ms)
    even = all(abs(each - n * shortest) <= n * tick_ms for each, n in zip(durations_ms, times, strict=True))
    return times if even and sum(times) <= _MOST_SHOWN else once


def _jpeg(picture: Image.Image) -> bytes:
    small = picture.convert("RGB")
    if small.width > _POSTER_WIDTH:
        height = max(1, round(small.height * _POSTER_WIDTH / small.width))
        small = small.resize((_POSTER_WIDTH, height), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_POSTER_QUALITY)
    return out.getvalue()
