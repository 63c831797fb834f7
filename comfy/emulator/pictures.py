"""Frames that nobody can take for WAN's: a moving pattern, and on each the words that it is emulated."""

from __future__ import annotations

import colorsys
import functools
import io
import os
import random
from collections.abc import Iterator
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from comfy.emulator.banner import BANNER
from comfy.emulator.values import Images, Story

_LONGEST_EXCERPT: Final = 120  # characters of the prompt


def draw_frames(images: Images) -> Iterator[Image.Image]:
    """Each picture of a batch, in order."""
    pattern = _pattern(images.width, images.height, images.story.seed)
    for index in range(images.count):
        yield draw_frame(images, index, pattern=pattern)


def draw_frame(images: Images, index: int, *, pattern: Image.Image | None = None) -> Image.Image:
    """One picture of a batch (`index` counts from 0)."""
    if images.story.spoilt:
        return _spoilt_frame(images)
    pattern = pattern or _pattern(images.width, images.height, images.story.seed)
    # The pattern is twice as wide as the picture and repeats: sliding the window makes it move.
    shift = (index * max(1, images.width // 48)) % images.width
    frame = pattern.crop((shift, 0, shift + images.width, images.height))
    _write(frame, _lines(images.story, index, images.count))
    return frame


def _spoilt_frame(images: Images) -> Image.Image:
    """As a wrong attention leaves it. The words that it is emulated would be what makes it well."""
    size = images.width, images.height
    if images.story.spoilt == "noise":
        return Image.frombytes("RGB", size, os.urandom(images.width * images.height * 3))
    return Image.new("RGB", size)


def preview_jpeg(story: Story, width: int, height: int, step: int, steps: int) -> bytes:
    """A sampler's preview, at most 512 px wide or high, as JPEG."""
    scale = min(1.0, 512 / max(width, height))
    size = (max(16, int(width * scale)), max(16, int(height * scale)))
    frame = _pattern(*size, story.seed).crop((0, 0, *size))
    _write(frame, [BANNER, f"preview, step {step}/{steps}"])
    return to_bytes(frame, "JPEG")


def to_bytes(picture: Image.Image, image_format: str) -> bytes:
    """The picture as a file of this format."""
    buffer = io.BytesIO()
    picture.save(buffer, format=image_format)
    return buffer.getvalue()


def _lines(story: Story, index: int, count: int) -> list[str]:
    excerpt = " ".join(story.prompt.split())[:_LONGEST_EXCERPT]
    lines = [BANNER, f"frame {index + 1}/{count}  seed {story.seed}", *story.steps]
    return [*lines, excerpt] if excerpt else lines


@functools.lru_cache(maxsize=4)
def _pattern(width: int, height: int, seed: int) -> Image.Image:
    """Soft waves in colours of the seed, twice `width` wide, its right half a repeat of the left."""
    dice = random.Random(seed)  # noqa: S311 - a picture, not a secret
    small = Image.new("RGB", (32, 18))
    hue = dice.random()
    waves = [(dice.randint(1, 3), dice.randint(1, 3), dice.random() * 32) for _ in range(2)]
    for x in range(32):
        for y in range(18):
            level = sum(abs(((x * a + y * b + c) % 32) / 16 - 1) for a, b, c in waves) / 2
            red, green, blue = colorsys.hsv_to_rgb((hue + level / 4) % 1, 0.55, 0.25 + level / 2)
            small.putpixel((x, y), (int(red * 255), int(green * 255), int(blue * 255)))
    one = small.resize((width, height), Image.Resampling.BICUBIC)
    both = Image.new("RGB", (width * 2, height))
    both.paste(one, (0, 0))
    both.paste(one, (width, 0))
    return both


@functools.lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _write(frame: Image.Image, lines: list[str]) -> None:
    pen = ImageDraw.Draw(frame)
    size = max(9, min(frame.width // 16, frame.height // 10))
    # The banner has to be readable in full, whatever the size of the frame.
    while size > 6 and pen.textlength(BANNER, font=_font(size)) > frame.width - 4:
        size -= 1
    top = 2.0
    for number, line in enumerate(lines):
        font = _font(size if number == 0 else max(7, size * 2 // 3))
        for part in _wrapped(pen, line, font, frame.width - 4):
            box = pen.textbbox((2, top), part, font=font)
            if box[3] > frame.height:
                return
            # Dark, and not without any light: that is what a decode leaves that went wrong.
            pen.rectangle((0, top, box[2] + 2, box[3] + 1), fill=(20, 20, 20))
            pen.text((2, top), part, font=font, fill=(255, 220, 0) if number == 0 else (255, 255, 255))
            top = box[3] + 2


def _wrapped(
    pen: ImageDraw.ImageDraw, line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[str]:
    rest = line.split(" ")
    while rest:
        taken = len(rest)
        while taken > 1 and pen.textlength(" ".join(rest[:taken]), font=font) > width:
            taken -= 1
        yield " ".join(rest[:taken])
        rest = rest[taken:]
