"""Pictures become files: real clips, encoded with PyAV, and pictures of every kind that ComfyUI saves."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfy.emulator.banner import BANNER
from comfy.emulator.pictures import draw_frames
from comfy.emulator.values import Images

_BOX_HEAD_BYTES: Final = 8
_PAD_BLOCK_BYTES: Final = 1 << 20

OnFrame = Callable[[int], None]  # called with the number of frames written so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How one kind of clip is encoded."""

    name: str  # FFmpeg's name of the encoder
    extension: str
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] | None = None


# The quickest preset: what is drawn here is there to be looked at once, and tests encode thousands.
H264: Final = Codec(name="libx264", extension="mp4", options={"preset": "ultrafast", "crf": "23"})
H265: Final = Codec(
    name="libx265", extension="mp4", options={"preset": "ultrafast", "x265-params": "log-level=none"}
)
VP9: Final = Codec(name="libvpx-vp9", extension="webm", options={"deadline": "realtime", "cpu-used": "8"})
AV1: Final = Codec(name="libsvtav1", extension="webm", pix_fmt="yuv420p10le", options={"preset": "10"})


def frame_rate(fps: float) -> Fraction:
    """Frames per second as ComfyUI rounds them: to a thousandth."""
    return Fraction(round(fps * 1000), 1000)


@contextlib.contextmanager
def kept_scheduling() -> Iterator[None]:
    """The thread is scheduled afterwards as it was before.

    As root, SVT-AV1 gives the thread that encodes real-time priority and leaves it so: whatever that thread
    starts then keeps a processor from everybody else.

    Source: SVT-AV1 ``svt_av1_enc_init_handle`` (pthread_setschedparam); seen with the one in PyAV 18.1.
    """
    if not hasattr(os, "sched_getscheduler"):  # no Linux
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


@kept_scheduling()
def write_clip(
    path: Path,
    images: Images,
    fps: Fraction,
    *,
    codec: Codec = H264,
    metadata: Mapping[str, Any] | None = None,
    on_frame: OnFrame | None = None,
    index_first: bool = True,
) -> None:
    """Encode a batch of pictures as a clip of exactly their size and number.

    Args:
        index_first: an MP4's index goes to the front: a player can begin before it has the whole file.
    """
    flags = "use_metadata_tags+faststart" if index_first else "use_metadata_tags"
    options = {"movflags": flags} if codec.extension in {"mp4", "mov"} else {}
    with av.open(str(path), mode="w", options=options) as container:
        for key, value in (metadata or {}).items():
            container.metadata[key] = json.dumps(value)
        container.metadata["comment"] = f"{BANNER}: drawn by comfy.emulator"
        stream = container.add_stream(codec.name, rate=fps, options=dict(codec.options or {}))
        if not isinstance(stream, av.VideoStream):
            raise TypeError(f"{codec.name} is no video encoder")
        stream.width, stream.height, stream.pix_fmt = images.width, images.height, codec.pix_fmt
        for number, picture in enumerate(draw_frames(images), start=1):
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
            if on_frame is not None:
                on_frame(number)
        container.mux(stream.encode(None))


def pad_clip(path: Path, size_bytes: int) -> None:
    """Make an MP4 as large as a real render's, by a box that players skip; a larger one stays as it is.

    Source: ISO/IEC 14496-12, 8.1.2: a ``free`` box may stand anywhere and hold anything.
    """
    missing = size_bytes - path.stat().st_size
    if missing < _BOX_HEAD_BYTES:
        return
    block = os.urandom(min(missing, _PAD_BLOCK_BYTES))
    with path.open("ab") as file:
        file.write(missing.to_bytes(4, "big") + b"free")
        left = missing - _BOX_HEAD_BYTES
        while left > 0:
            left -= file.write(block[:left])


def write_animation(
    path: Path, images: Images, fps: Fraction, *, image_format: str, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write an animated WEBP or GIF."""
    first, *rest = list(draw_frames(images))
    extra: dict[str, Any] = {"method": 0, "quality": 60} if image_format == "WEBP" else {}
    if metadata and image_format == "WEBP":
        exif = first.getexif()
        exif[0x0110] = f"prompt:{json.dumps(metadata.get('prompt'))}"
        extra["exif"] = exif
    first.save(
        path,
        format=image_format,
        save_all=True,
        append_images=rest,
        duration=int(1000 / fps),
        loop=0,
        **extra,
    )


def write_png(path: Path, picture: Image.Image, metadata: Mapping[str, Any] | None = None) -> None:
    """Write one picture with the texts that ComfyUI puts into a PNG."""
    info = PngInfo()
    info.add_text("comment", f"{BANNER}: drawn by comfy.emulator")
    for key, value in (metadata or {}).items():
        info.add_text(key, json.dumps(value))
    picture.save(path, pnginfo=info, compress_level=1)
