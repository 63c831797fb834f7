"""Areas of a frame that are plain black or white and end hard, as a VAE decodes them from what is no number.

All of it is Pillow's arithmetic, and most frames have no such block of pixels: a tenth of a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from PIL import Image, ImageChops

# Of frames as FFmpeg hands them out, brightness is kept between these two.
BLACK: Final = 16
WHITE: Final = 235
_FULL: Final = 255

_BLOCK: Final = 8  # pixels a side for which WAN's VAE keeps one value; that of TI2V-5B: 16, on the same grid
_CODED: Final = 3  # by which an encoder leaves black and white
_STEP: Final = 40  # from one pixel to the next, in the mean of a block's side: a hard edge
_MOST_OF_BLOCK: Final = 240  # of 255: a few points of a hole are smeared by an encoder
_BLOCKY: Final = 0.05  # of all sides; more hard ones and the picture itself is made of blocks
_AROUND: Final = _BLOCK + 2  # pixels beyond whole dead blocks: the rest of the area, and what it ends at
_MOST_DEAD: Final = 0.25  # of a frame's blocks; more is the picture's own black or white

_DEAD: Final = [_FULL if v <= BLACK + _CODED or v >= WHITE - _CODED else 0 for v in range(256)]
_HARD: Final = [_FULL if v >= _STEP else 0 for v in range(256)]
_FILLED: Final = [_FULL if v >= _MOST_OF_BLOCK else 0 for v in range(256)]


class Holes(NamedTuple):
    """What was found in a frame."""

    corners: int = 0  # of areas whose hard edges lie on the grid of the VAE
    edge: float = 0.0  # the part of such areas' outline that does
    boxes: int = 0  # areas that are rectangles with four hard sides; two for each that lies on the grid


def holes_in(luma: Image.Image) -> Holes:
    """The dead areas of a frame, by its brightness (16 to 235)."""
    across, down = luma.width // _BLOCK, luma.height // _BLOCK
    if across < 2 or down < 2:
        return Holes()
    luma = luma.crop((0, 0, across * _BLOCK, down * _BLOCK))
    pixels = luma.point(_DEAD)
    dead = pixels.reduce(_BLOCK).point(_FILLED)
    if dead.getbbox() is None:
        return Holes()
    corners, edge = _on_the_grid(luma, dead)
    return Holes(corners, edge, sum(_boxes(luma, pixels, area) for area in _areas(dead)))


def _on_the_grid(luma: Image.Image, dead: Image.Image) -> tuple[int, float]:
    """Corners of dead blocks' areas whose hard edges lie on the VAE's grid, and the part of them that does.

    Bars at a picture's edge have no such corners, silhouettes hardly a side on the grid.
    """
    across, down = dead.size
    # Steps between a block and the next, sampled at the grid's lines only.
    right = _steps(luma.reduce((1, _BLOCK)), across, down)
    below = _steps(luma.reduce((_BLOCK, 1)).transpose(Image.Transpose.TRANSPOSE), down, across)
    turned = dead.transpose(Image.Transpose.TRANSPOSE)
    (hard_right, ends_right), (hard_below, ends_below) = _outline(dead, right), _outline(turned, below)
    sides, hard = _count(ends_right) + _count(ends_below), _count(hard_right) + _count(hard_below)
    lines = right.width * right.height + below.width * below.height
    others = _count(right) + _count(below) - hard
    if sides == 0 or others > _BLOCKY * (lines - sides):
        return 0, 0.0
    beside = _touching(hard_right, dead)
    above = _touching(hard_below, turned).transpose(Image.Transpose.TRANSPOSE)
    return _count(ImageChops.darker(beside, above)), hard / sides


def _steps(rows: Image.Image, across: int, down: int) -> Image.Image:
    """Where a row of blocks has a hard step at a line of the grid."""
    step = ImageChops.difference(rows.crop((1, 0, rows.width, down)), rows.crop((0, 0, rows.width - 1, down)))
    # The nearest point to the middle of each box is the last one before the line.
    first = _BLOCK / 2 - 1
    box = (first, 0, first + _BLOCK * (across - 1), down)
    return step.resize((across - 1, down), Image.Resampling.NEAREST, box=box).point(_HARD)


def _outline(dead: Image.Image, hard: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The sides between a dead block and a live one: the hard ones, and all."""
    width, height = hard.size
    ends = ImageChops.difference(dead.crop((0, 0, width, height)), dead.crop((1, 0, width + 1, height)))
    return ImageChops.darker(ends, hard), ends


def _touching(sides: Image.Image, dead: Image.Image) -> Image.Image:
    """The dead blocks that have one of the sides, on the left or the right."""
    left, right = Image.new("L", dead.size), Image.new("L", dead.size)
    left.paste(sides, (1, 0))
    right.paste(sides, (0, 0))
    return ImageChops.darker(dead, ImageChops.lighter(left, right))


def _areas(dead: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """The rectangles of dead blocks with live ones all around them."""
    width, height = dead.size
    if _count(dead) > _MOST_DEAD * width * height:
        return
    cells, left_over = dead.tobytes(), bytearray(dead.tobytes())
    while (start := left_over.find(_FULL)) >= 0:
        top, left = divmod(start, width)
        end = cells.find(0, start, (top + 1) * width)
        right = end - top * width if end >= 0 else width
        row, bottom = cells[start : top * width + right], top
        while bottom < height and cells[bottom * width + left : bottom * width + right] == row:
            left_over[bottom * width + left : bottom * width + right] = bytes(len(row))
            bottom += 1
        inside = left > 0 and top > 0 and right < width and bottom < height
        # With its surroundings it has no more dead blocks than alone.
        around = (left - 1, top - 1, right + 1, bottom + 1)
        if inside and _count(dead.crop(around)) == (right - left) * (bottom - top):
            yield left, top, right, bottom


def _boxes(luma: Image.Image, pixels: Image.Image, area: tuple[int, int, int, int]) -> int:
    """0 if it has not four hard sides, 2 if they lie on the grid: a screen's hardly do."""
    left, top, right, bottom = (_BLOCK * v for v in area)
    around = (left - _AROUND, top - _AROUND, right + _AROUND, bottom + _AROUND)
    light, dead = luma.crop(around), pixels.crop(around)
    turn = Image.Transpose.TRANSPOSE
    return min(_hard_sides(light, dead), _hard_sides(light.transpose(turn), dead.transpose(turn)))


def _hard_sides(light: Image.Image, dead: Image.Image) -> int:
    """1 if what is dead in the middle ends hard on its left and right, 2 if it does on the grid, else 0."""
    width, height = light.width, light.height - 2 * _AROUND
    middle = (0, _AROUND, width, _AROUND + height)
    columns = dead.crop(middle).reduce((1, height)).point(_FILLED).tobytes()
    levels = light.crop(middle).reduce((1, height)).tobytes()
    before, behind = columns.rfind(0, 0, _AROUND), columns.find(0, width - _AROUND)
    if before < 1 or behind < 0 or behind > width - 2:
        return 0
    # An encoder smears the first pixel beyond.
    steps = (levels[at] - levels[width // 2] for at in (before - 1, behind + 1))
    if any(abs(step) < _STEP for step in steps):
        return 0
    return 2 if (before, behind) == (_AROUND - 1, width - _AROUND) else 1


def _count(mask: Image.Image) -> int:
    return mask.histogram()[_FULL]
