"""Measures frames of a clip as they are decoded for its poster anyway: brightness, colours, noise, movement.

Source of the numbers' meaning: `comfy.doctor.clip`. All of it is Pillow's arithmetic on small pictures: some
tenths of a millisecond a frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageChops, ImageStat

from comfy.doctor.clip import ClipLook, FrameLook
from farm.job import VideoFacts

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_LOOKED_AT: Final = 24  # frames of a clip
_WIDTH: Final = 160  # of the small picture, in pixels
_CROP: Final = 192  # of the middle, at its own size: where noise is finer than the small picture shows
_LATENT: Final = 8  # pixels a side for which WAN's VAE keeps one value
_BLOCKS: Final = 16  # a side of the grid in which dead patches are looked for
_DEAD: Final = 1  # brightest point of a dead block
_BRIGHT: Final = 48.0  # mean of the frame beside which a dead block is odd


class FrameWatch:
    """Takes the frames of one clip, in their order."""

    def __init__(self, count: int) -> None:
        self._every = max(1, -(-count // _LOOKED_AT))
        self._number = -1
        self._before: Image.Image | None = None
        self._frames: list[FrameLook] = []

    def take(self, frame: VideoFrame) -> None:
        """Look at a frame, if it is one of the sample."""
        self._number += 1
        if self._number % self._every:
            return
        picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
        self.look(picture)

    def look(self, picture: Image.Image) -> None:
        """Measure a picture."""
        height = max(1, round(picture.height * _WIDTH / picture.width))
        small = picture.resize((_WIDTH, height), Image.Resampling.BOX)
        grey = small.convert("L")
        stat = ImageStat.Stat(grey)
        middle = _middle(picture)
        before, self._before = self._before, grey
        changed = None if before is None else _difference(before, grey)
        self._frames.append(
            FrameLook(
                mean=round(stat.mean[0], 2),
                spread=round(max(stat.stddev[0], ImageStat.Stat(middle).stddev[0]), 2),
                colour_spread=round(max(ImageStat.Stat(small.convert("RGB")).stddev), 2),
                roughness=round(max(map(_roughness, (grey, middle, _as_latent(picture)))), 3),
                changed=None if changed is None else round(changed, 3),
                flicker=None if changed is None else round(changed / max(stat.stddev[0], 1.0), 3),
                dead_part=round(_dead_part(grey, stat.mean[0]), 4),
            )
        )

    def result(self, name: str, facts: VideoFacts) -> ClipLook:
        """What was measured."""
        return ClipLook(
            name=name,
            frames=tuple(self._frames),
            width=facts.width,
            height=facts.height,
            count=facts.frames,
            fps=facts.fps,
            has_audio=facts.has_audio,
        )


def _middle(picture: Image.Image) -> Image.Image:
    left, top = max(0, (picture.width - _CROP) // 2), max(0, (picture.height - _CROP) // 2)
    return picture.crop((left, top, left + _CROP, top + _CROP)).convert("L")


def _as_latent(picture: Image.Image) -> Image.Image:
    """A point for each of the latent's: a latent of noise becomes blotches of that size."""
    size = max(2, picture.width // _LATENT), max(2, picture.height // _LATENT)
    return picture.resize(size, Image.Resampling.BOX).convert("L")


def _roughness(grey: Image.Image) -> float:
    """Mean step between neighbours, over the spread."""
    spread: float = ImageStat.Stat(grey).stddev[0]
    if spread < 1 or grey.width < 2 or grey.height < 2:
        return 0.0
    right = ImageChops.difference(
        grey.crop((0, 0, grey.width - 1, grey.height)), grey.crop((1, 0, grey.width, grey.height))
    )
    below = ImageChops.difference(
        grey.crop((0, 0, grey.width, grey.height - 1)), grey.crop((0, 1, grey.width, grey.height))
    )
    # Of stripes only one of the two is large.
    return float(min(ImageStat.Stat(right).mean[0], ImageStat.Stat(below).mean[0])) / spread


def _difference(one: Image.Image, other: Image.Image) -> float:
    return float(ImageStat.Stat(ImageChops.difference(one, other)).mean[0])


def _dead_part(grey: Image.Image, mean: float) -> float:
    """Blocks without light in a bright frame; whole rows and columns of them are bars."""
    if mean < _BRIGHT:
        return 0.0
    dead = {
        (column, row)
        for row in range(_BLOCKS)
        for column in range(_BLOCKS)
        if _block(grey, column, row).getextrema()[1] <= _DEAD  # type: ignore[operator]
    }
    bars_across = {row for row in range(_BLOCKS) if all((column, row) in dead for column in range(_BLOCKS))}
    bars_down = {column for column in range(_BLOCKS) if all((column, row) in dead for row in range(_BLOCKS))}
    left = [each for each in dead if each[0] not in bars_down and each[1] not in bars_across]
    return len(left) / _BLOCKS**2


def _block(grey: Image.Image, column: int, row: int) -> Image.Image:
    width, height = grey.width / _BLOCKS, grey.height / _BLOCKS
    return grey.crop(
        (round(column * width), round(row * height), round((column + 1) * width), round((row + 1) * height))
    )
