"""Movies and sounds through PyAV: every packet read, the pictures decoded as far as it is worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import av.error
import av.logging

from farm.job import VideoFacts
from worker.errors import BrokenOutput

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL import Image

# FFmpeg writes its complaints to stderr; those that matter come as exceptions as well.
av.logging.set_level(None)

_MICROSECONDS: Final = 1_000_000
_FRAMES_OFF: Final = 1.5  # by which a header's duration and the end of the last packet may differ
_ROUNDING_S: Final = 0.03
# What decoding is worth: about half a second of two cores. A clip of WAN's fits several times.
_DECODE_BYTES: Final = 16 << 20
DECODE_PIXELS: Final = 1 << 28  # 291 frames of 1280×720


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet of the video stream, in the order of the file."""

    pts: int  # in the stream's time base
    size_bytes: int
    is_keyframe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieIndex:
    """A movie's facts, and the packets of its video stream."""

    facts: VideoFacts
    packets: tuple[Packet, ...]  # never empty


def read_movie(path: Path) -> MovieIndex:
    """Read all packets, decode none.

    Raises:
        BrokenOutput: it is no video, or ends before the end that its header names.
    """
    with _opened(path) as container:
        if not container.streams.video:
            raise BrokenOutput(path.name, "it holds no video stream")
        stream = container.streams.video[0]
        packets, end_s, has_sound = _packets(path, container, stream)
        _check_whole(path, container, stream, len(packets), end_s)
        facts = _facts(container, stream, len(packets), end_s, has_sound)
    return MovieIndex(facts=facts, packets=packets)


def read_sound(path: Path) -> tuple[str, float]:
    """Codec and duration in seconds of a sound file.

    Raises:
        BrokenOutput: it is none, or holds nothing.
    """
    with _opened(path) as container:
        if not container.streams.audio:
            raise BrokenOutput(path.name, "it holds no sound")
        stream = container.streams.audio[0]
        packets = sum(1 for packet in container.demux(stream) if packet.size)
        if packets == 0:
            raise BrokenOutput(path.name, "it holds no sound")
        return codec_name(stream), (container.duration or 0) / _MICROSECONDS


def decode_movie(
    path: Path,
    index: MovieIndex,
    *,
    poster_at: float,
    watch: Callable[[VideoFrame], None] = lambda _frame: None,
) -> Image.Image:
    """Decode all frames, or of a large movie the poster's and the last stretch, from its last keyframe on.

    A clip of WAN's is decoded whole. Stretches of more than 16 MiB are not: a poster is then its stretch's
    keyframe, and for the end it must do that all packets are there.

    Args:
        watch: gets each frame that is decoded.

    Raises:
        BrokenOutput: a frame cannot be decoded.
    """
    packets = index.packets
    shown = sorted(packet.pts for packet in packets)  # a file's order is that of decoding
    wanted = shown[min(int(len(shown) * poster_at), len(shown) - 1)]
    if _is_worth_all(index):
        return _image(_decode_stretch(path, packets[0].pts, watch, grab=wanted, to_the_end=True))
    start, tail = _keyframe_before(packets, wanted), _keyframe_before(packets, shown[-1])
    if _size_bytes(packet for packet in packets[start:] if packet.pts <= wanted) > _DECODE_BYTES:
        wanted = packets[start].pts
    to_the_end = _size_bytes(packets[tail:]) <= _DECODE_BYTES
    if start > 0:
        _decode_stretch(path, packets[0].pts, watch, grab=packets[0].pts)
    whole = to_the_end and start == tail
    picture = _decode_stretch(path, packets[start].pts, watch, grab=wanted, to_the_end=whole)
    if to_the_end and start != tail:
        _decode_stretch(path, packets[tail].pts, watch, grab=packets[tail].pts, to_the_end=True)
    return _image(picture)


def _is_worth_all(index: MovieIndex) -> bool:
    facts = index.facts
    pixels = facts.width * facts.height * facts.frames
    return pixels <= DECODE_PIXELS and _size_bytes(index.packets) <= _DECODE_BYTES


def _image(frame: VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return image


def _decode_stretch(
    path: Path, start: int, watch: Callable[[VideoFrame], None], *, grab: int, to_the_end: bool = False
) -> VideoFrame:
    """The frame at `grab`, decoded from the keyframe at `start` on."""
    grabbed: VideoFrame | None = None
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if start > (stream.start_time or 0):
            container.seek(start, stream=stream)
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise BrokenOutput(path.name, f"a frame near {frame.time or 0.0:.2f} s is damaged")
            watch(frame)
            # Some containers give no time stamps: then any frame is as good.
            if grabbed is None and (frame.pts is None or frame.pts >= grab):
                grabbed = frame
            if grabbed is not None and not to_the_end:
                break
    if grabbed is None:
        raise BrokenOutput(path.name, "its frames cannot be decoded")
    return grabbed


def codec_name(stream: VideoStream | AudioStream) -> str:
    """What a stream is encoded as, whichever decoder reads it here: ``av1``, and not ``libdav1d``."""
    return stream.codec_context.codec.canonical_name


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    try:
        with av.open(str(path)) as container:
            yield container
    except av.error.FFmpegError as exc:
        raise BrokenOutput(path.name, f"it cannot be read as what its name says ({exc.strerror})") from exc


def _packets(
    path: Path, container: InputContainer, stream: VideoStream
) -> tuple[tuple[Packet, ...], float, bool]:
    """The video stream's packets, when the last of any stream ends (in seconds), and if one is sound."""
    found: list[Packet] = []
    has_sound = False  # a file may announce a sound and hold none
    end = Fraction(0)
    for packet in container.demux():
        if packet.size == 0:
            continue
        if packet.is_corrupt:
            raise BrokenOutput(path.name, "it is cut short: a packet is not whole")
        at = packet.pts if packet.pts is not None else packet.dts
        has_sound = has_sound or packet.stream.type == "audio"
        if packet.stream.index == stream.index:
            at = at if at is not None else len(found)
            found.append(Packet(pts=at, size_bytes=packet.size, is_keyframe=packet.is_keyframe))
        if at is not None and packet.time_base is not None:
            end = max(end, (at + (packet.duration or 0)) * packet.time_base)
    return tuple(found), float(end - Fraction(container.start_time or 0, _MICROSECONDS)), has_sound


def _check_whole(
    path: Path, container: InputContainer, stream: VideoStream, frames: int, end_s: float
) -> None:
    # mp4, mov and gif say how many frames there are; webm and mkv only how long they last.
    if stream.frames > frames:
        raise BrokenOutput(path.name, f"it is cut short: {frames} of {stream.frames} frames are there")
    if frames == 0 or stream.width == 0:
        raise BrokenOutput(path.name, "it holds no frame")
    fps = float(stream.average_rate or 0)
    declared_s = (container.duration or 0) / _MICROSECONDS
    if fps and end_s < declared_s - _FRAMES_OFF / fps - _ROUNDING_S:
        raise BrokenOutput(path.name, f"it is cut short: it ends at {end_s:.2f} s of {declared_s:.2f} s")


def _facts(
    container: InputContainer, stream: VideoStream, frames: int, end_s: float, has_sound: bool
) -> VideoFacts:
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    duration_s = container.duration / _MICROSECONDS if container.duration else end_s
    codec = codec_name(stream)
    return VideoFacts(
        codec=codec,
        width=stream.width,
        height=stream.height,
        frames=frames,
        fps=round(fps, 6),
        duration_s=round(duration_s, 6),
        pixel_format=stream.codec_context.pix_fmt,
        has_audio=has_sound,
    )


def _keyframe_before(packets: tuple[Packet, ...], pts: int) -> int:
    """Index of the last keyframe that is not after `pts`; 0 if none says so."""
    keyframes = (n for n, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= pts)
    return max(keyframes, default=0)


def _size_bytes(packets: Iterable[Packet]) -> int:
    return sum(packet.size_bytes for packet in packets)
