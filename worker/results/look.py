"""Measures a clip's frames as they are decoded for its poster anyway: brightness, colours, noise, movement.

What the numbers mean: `comfy.doctor.clip`. All of it is Pillow's arithmetic on a frame's own planes and on
small pictures of them: 2 ms of 832×480 pixels, 4 ms of 1280×720; two small pictures are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageChops, ImageFilter, ImageStat

from comfy.doctor.clip import ClipLook, FrameLook
from farm.job import VideoFacts
from worker.results.holes import BLACK, WHITE, holes_in

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane

_SMALL: Final = 4  # pixels a side that become one in the small picture
_ANCHOR_EVERY: Final = 8  # frames: what moves too slowly to be seen from one to the next is seen by then
_SCALE: Final = 255 / (WHITE - BLACK)
_ROOM: Final = 48  # squares of a side, for three that are sixteen times as large
_NORMAL_SPREAD: Final = 40.0  # that small pictures are stretched to before they are made smaller still
_FULL: Final = 255
# Where it is worth looking for motion, which takes 10 ms; and how far, in squares of 8 pixels.
_UNSTRUCTURED: Final = 0.5
_FLICKERS: Final = 0.6
_PATCH: Final = 24
_REACH: Final = 8
_OVERLAP: Final = ImageFilter.BoxBlur(0.5)
_ROUNDING: Final = 0.5  # of numbers that are kept as whole ones

_LIMITED: Final = [round(BLACK + v / _SCALE) for v in range(256)]


class _Planes(NamedTuple):
    """A frame's brightness (16 to 235) at its own size, and its colours."""

    luma: Image.Image
    blue: Image.Image
    red: Image.Image


class FrameWatch:
    """Takes the frames of one clip, in their order."""

    def __init__(self) -> None:
        self._anchor: Image.Image | None = None  # a small picture of some frames ago
        self._before: Image.Image | None = None  # a normal one of the frame before
        self._frames: list[FrameLook] = []

    def take(self, frame: VideoFrame) -> None:
        """Look at a frame of a movie."""
        planes = frame.reformat(format="yuv420p").planes
        self._look(_Planes(*map(_picture_of, planes)))

    def take_picture(self, picture: Image.Image) -> None:
        """Look at a frame of an animated picture."""
        if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow cuts off at 255
            picture = picture.point(lambda level: level / 256)
        luma, blue, red = picture.convert("RGB").convert("YCbCr").split()
        self._look(_Planes(luma.point(_LIMITED), blue, red))

    def _look(self, planes: _Planes) -> None:
        luma, small = planes.luma, planes.luma.reduce(_SMALL)
        stat, small_stat = ImageStat.Stat(luma), ImageStat.Stat(small)
        mean, (lowest, highest) = stat.mean[0], stat.extrema[0]
        colours = (ImageStat.Stat(each.reduce(_SMALL)).stddev[0] for each in planes[1:])
        holes = holes_in(luma)
        normal = _normal(small, small_stat.mean[0], small_stat.stddev[0])
        structure = _structure(normal)
        anchor, before, spread = self._anchor, self._before, max(small_stat.stddev[0], _ROUNDING)
        moved = None if anchor is None else ImageStat.Stat(ImageChops.difference(anchor, small))
        self._frames.append(
            FrameLook(
                mean=round((mean - BLACK) * _SCALE, 2),
                spread=round(stat.stddev[0] * _SCALE, 2),
                detail=round(max(small_stat.stddev[0] * _SCALE, *colours), 2),
                peak=round(max(highest - mean, mean - lowest) * _SCALE, 2),
                structure=round(structure, 3),
                flicker=None if before is None else round(_flicker(before, normal, structure), 3),
                changed=None if moved is None else round(moved.extrema[0][1] * _SCALE, 2),
                drift=None if moved is None else round(moved.mean[0] / spread, 4),
                hole_corners=holes.corners,
                hole_edge=round(holes.edge, 3),
                hole_boxes=holes.boxes,
            )
        )
        if (len(self._frames) - 1) % _ANCHOR_EVERY == 0:
            self._anchor = small
        self._before = normal

    def result(self, name: str, facts: VideoFacts, *, tick_s: float = 0.0) -> ClipLook:
        """What was measured; `tick_s` is what all delays of such a file are multiples of."""
        return ClipLook(
            name=name,
            frames=tuple(self._frames),
            width=facts.width,
            height=facts.height,
            count=facts.frames,
            fps=facts.fps,
            has_audio=facts.has_audio,
            tick_s=tick_s,
        )


def _picture_of(plane: VideoPlane) -> Image.Image:
    """The plane as a picture, of the same memory."""
    size = plane.width, plane.height
    return Image.frombuffer("L", size, plane, "raw", "L", plane.line_size, 1)  # type: ignore[arg-type]


def _normal(small: Image.Image, mean: float, spread: float) -> Image.Image:
    """The same picture at the usual contrast: of faint noise, too, something is left when it is averaged."""
    gain = _NORMAL_SPREAD / max(spread, _ROUNDING)
    return small.point([min(_FULL, max(0, round((v - mean) * gain) + 128)) for v in range(256)])


def _structure(normal: Image.Image) -> float:
    """What is left of the spread in squares of four times the side: a quarter in noise, most in a picture.

    Squares are as large as the noise of a latent, 16 pixels, where the picture has room for that.
    """
    side = 4 if min(normal.size) >= _ROOM else 2
    fine, coarse = normal.reduce(side), normal.reduce(side * 4)
    if coarse.width < 2 or coarse.height < 2:
        return 1.0
    spread: float = ImageStat.Stat(coarse).stddev[0]
    return spread / max(ImageStat.Stat(fine).stddev[0], _ROUNDING)


def _flicker(before: Image.Image, normal: Image.Image, structure: float) -> float:
    """Mean change of what lies in 16 pixels, over its spread; of what may be noise, wherever that went."""
    one, other = before.reduce(4), normal.reduce(4)
    change = _change(one, other, ImageStat.Stat(other).stddev[0])
    # In a few squares something is always found again.
    if structure > _UNSTRUCTURED or change < _FLICKERS or min(normal.size) < _ROOM:
        return change
    return min(change, _change_by_motion(before.reduce(2), normal.reduce(2)))


def _change_by_motion(before: Image.Image, normal: Image.Image) -> float:
    """The least change of the picture's middle, wherever it went: grass under a flying camera is no noise."""
    # What moves by half a square is found by squares that overlap.
    before, normal = before.filter(_OVERLAP), normal.filter(_OVERLAP)
    side = min(_PATCH, min(normal.size) // 2)
    left, top = (normal.width - side) // 2, (normal.height - side) // 2
    reach = min(_REACH, left, top)
    middle = before.crop((left, top, left + side, top + side))
    spread: float = ImageStat.Stat(middle).stddev[0]
    return min(
        _change(normal.crop((x, y, x + side, y + side)), middle, spread)
        for x in range(left - reach, left + reach + 1)
        for y in range(top - reach, top + reach + 1)
    )


def _change(one: Image.Image, other: Image.Image, spread: float) -> float:
    return float(ImageStat.Stat(ImageChops.difference(one, other)).mean[0]) / max(spread, _ROUNDING)
