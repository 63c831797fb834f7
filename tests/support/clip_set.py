"""Clips of which it is known whether something is wrong with them: small, drawn and encoded here.

Drawn after what WAN's failures look like and after good pictures that resemble them: `CLIPS`. The figures of
`docs/doctor.md` are counted over it.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Final

import av
from av.video.stream import VideoStream
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from comfy.emulator.clips import kept_scheduling

os.environ.setdefault("SVT_LOG", "1")  # of SVT-AV1, which tells of each encoder's settings: errors alone
SIZE: Final = (160, 96)
_LARGE: Final = (480, 288)  # in less, noise that stands still may be a picture
FRAMES: Final = 33
_BLACK: Final = (0, 0, 0)

Drawn = Callable[[int], Image.Image]  # the picture of a frame, by its number


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a clip becomes a file."""

    encoder: str = "libx264"  # "webp": Pillow's animation; all others: FFmpeg's name
    ending: str = ".mp4"
    crf: int = 20
    fps: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownClip:
    """A clip, and what is wrong with it."""

    name: str
    drawn: Drawn
    fault: str = ""  # id of the finding; "": it is good
    encoding: Encoding = Encoding()

    def __str__(self) -> str:
        return f"{self.name}, {self.encoding.encoder} {self.encoding.crf}"


_OPTIONS: Final = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "0"},
    "libsvtav1": {"preset": "12"},
}


@kept_scheduling()
def write(clip: KnownClip, folder: Path, *, frames: int = FRAMES) -> Path:
    """Encode a clip into a folder."""
    how = clip.encoding
    path = folder / f"clip{how.ending}"
    pictures = [clip.drawn(number) for number in range(frames)]
    if how.encoder == "webp":
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000 // how.fps)
        return path
    pixels = "rgb8" if how.encoder == "gif" else "yuv420p"
    options = {**_OPTIONS.get(how.encoder, {}), "crf": str(how.crf)} if how.crf else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(how.encoder, rate=Fraction(how.fps), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, pixels
        for picture in pictures:
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())
    return path


# Good ones.


@cache
def _ground(size: tuple[int, int]) -> Image.Image:
    """A picture with structure of all sizes, as a room or a landscape has."""
    rng = random.Random(5)
    whole = Image.new("L", size, 0)
    for grid, weight in ((3, 0.5), (8, 0.25), (24, 0.15), (70, 0.1)):
        layer = Image.frombytes("L", (grid, grid), rng.randbytes(grid * grid))
        layer = layer.resize(size, Image.Resampling.BICUBIC).point([round(v * weight) for v in range(256)])
        whole = ImageChops.add(whole, layer)
    return Image.merge(
        "RGB", [whole, whole.point([v * 9 // 10 for v in range(256)]), ImageChops.invert(whole)]
    )


def _dimmed(picture: Image.Image, part: float, add: int = 0) -> Image.Image:
    return picture.point([min(255, round(v * part) + add) for v in range(256)] * 3)


def _ellipse(
    picture: Image.Image, x: float, y: float, w: float, h: float, fill: tuple[int, ...]
) -> Image.Image:
    """Drawn with soft edges: four times as large, and made small."""
    mask = Image.new("L", (picture.width * 4, picture.height * 4))
    ImageDraw.Draw(mask).ellipse([4 * v for v in (x - w, y - h, x + w, y + h)], fill=255)
    picture.paste(Image.new("RGB", picture.size, fill), mask=mask.resize(picture.size, Image.Resampling.BOX))
    return picture


def scene(number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A ball that flies through a landscape."""
    return _ellipse(_ground(size).copy(), 20 + number * 3, 50, 16, 16, (230, 120, 40))


def still(_number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """The landscape."""
    return _ground(size)


def candle(number: int) -> Image.Image:
    room = _dimmed(_ground(SIZE), 0.3)
    return _ellipse(room, 80 + 1.5 * math.sin(number), 48, 2.5, 5 + number % 3, (255, 210, 120))


def blink(number: int) -> Image.Image:
    face = _ellipse(_ground(SIZE).copy(), 80, 48, 24, 32, (220, 180, 150))
    closed = number % 12 in (5, 6)
    for x in (70, 90):
        face = _ellipse(face, x, 42, 3, 0.7 if closed else 2, (40, 30, 30))
    return face


def stars(number: int, bright: int = 255, every: int = 1) -> Image.Image:
    sky, rng = Image.new("RGB", SIZE, (2, 2, 4)), random.Random(3)
    for _ in range(30):
        x, y, level = rng.randrange(SIZE[0]), rng.randrange(SIZE[1]), rng.randrange(bright // 3, bright)
        sky.putpixel(((x + number // every) % SIZE[0], y), (level, level, level))
    return sky


def waves(
    number: int, level: float, height: float, tint: tuple[float, float, float] = (1, 1, 1)
) -> Image.Image:
    """A surface that hardly differs from one colour."""
    rows = [
        bytes(
            round(level + height * math.sin(x / 9 + number / 3) * math.sin(y / 5 - number / 2))
            for x in range(SIZE[0])
        )
        for y in range(SIZE[1])
    ]
    grey = Image.frombytes("L", SIZE, b"".join(rows))
    return Image.merge("RGB", [grey.point([min(255, round(v * each)) for v in range(256)]) for each in tint])


def moon(number: int) -> Image.Image:
    return _ellipse(Image.new("RGB", SIZE), 30 + number * 2, 30, 8, 8, (200, 200, 190))


def grain(number: int, under: Drawn, strength: int = 8) -> Image.Image:
    """A film's: small noise over a picture."""
    picture, rng = under(number), random.Random(number)
    noise = Image.frombytes("L", SIZE, rng.randbytes(SIZE[0] * SIZE[1])).point(
        [v // strength for v in range(256)]
    )
    return ImageChops.add(picture, Image.merge("RGB", [noise] * 3))


def silhouette(number: int) -> Image.Image:
    """A man in black before a bright wall."""
    picture = _dimmed(_ground(SIZE), 0.3, 150)
    picture = _ellipse(picture, 80 + 3 * math.sin(number / 5), 90, 34, 46, _BLACK)
    return _ellipse(picture, 80 + 3 * math.sin(number / 5), 36, 12, 14, _BLACK)


def logo(number: int) -> Image.Image:
    """Black boxes that grow on white."""
    picture, grown = Image.new("RGB", SIZE, (245, 245, 245)), 12 + number
    draw = ImageDraw.Draw(picture)
    draw.rectangle((80 - grown, 48 - grown // 2, 80 + grown, 48 + grown // 2), fill=_BLACK)
    draw.rectangle((8, 8, 8 + grown, 12), fill=_BLACK)
    return picture


def box(number: int) -> Image.Image:
    """A black screen that hangs in a room, and somebody who walks by."""
    picture = scene(number)
    ImageDraw.Draw(picture).rectangle((86, 18, 139, 59), fill=_BLACK)
    return _ellipse(picture, 30 + 2 * number, 70, 8, 24, (90, 60, 50))


def cartoon(number: int) -> Image.Image:
    picture = Image.new("RGB", SIZE, (120, 200, 250))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 70, 160, 96), fill=(90, 180, 60))
    draw.rectangle((20 + number, 40, 60 + number, 80), fill=(220, 40, 40), outline=_BLACK, width=3)
    draw.rectangle((30 + number, 52, 38 + number, 66), fill=_BLACK)
    return picture


def comes_to_rest(number: int) -> Image.Image:
    return cartoon(min(number, 22))


def pixel_art(number: int) -> Image.Image:
    rng = random.Random(9)
    small = Image.new("RGB", (20, 12), (140, 190, 230))
    for _ in range(40):
        small.putpixel((rng.randrange(20), rng.randrange(12)), (rng.randrange(60, 256), 90, 70))
    for x, y in ((4, 6), (5, 6), (4, 7), (5, 7), (6, 7)):
        small.putpixel(((x + number // 4) % 20, y), _BLACK)
    return small.resize(SIZE, Image.Resampling.NEAREST)


def letterbox(number: int) -> Image.Image:
    picture = _dimmed(scene(number), 0.5, 90)
    ImageDraw.Draw(picture).rectangle((0, 0, 160, 15), fill=_BLACK)
    ImageDraw.Draw(picture).rectangle((0, 80, 160, 96), fill=_BLACK)
    return picture


def pillars(number: int) -> Image.Image:
    picture = _dimmed(scene(number), 0.5, 90)
    ImageDraw.Draw(picture).rectangle((0, 0, 23, 96), fill=_BLACK)
    ImageDraw.Draw(picture).rectangle((136, 0, 160, 96), fill=_BLACK)
    return picture


def fades(number: int, over: Callable[[float], float]) -> Image.Image:
    return _dimmed(scene(number), max(0.0, min(1.0, over(number))))


def shown(
    number: int, is_shown: Callable[[int], bool], otherwise: Drawn, picture: Drawn = scene
) -> Image.Image:
    """A picture in some frames, and another one in the rest."""
    return picture(number) if is_shown(number) else otherwise(number)


@cache
def _wide_leaves() -> Image.Image:
    size = (320, 160)
    big = Image.frombytes("L", size, random.Random(1).randbytes(size[0] * size[1]))
    soft = big.filter(ImageFilter.GaussianBlur(1.5)).point(
        [max(0, min(255, (v - 128) * 4 + 128)) for v in range(256)]
    )
    return Image.merge(
        "RGB", [soft.point([v // 2 for v in range(256)]), soft, soft.point([v // 4 for v in range(256)])]
    )


def leaves(number: int) -> Image.Image:
    """Fine detail that moves."""
    return _wide_leaves().crop((number * 2, number, number * 2 + SIZE[0], number + SIZE[1]))


def grass(number: int) -> Image.Image:
    """Fine detail and nothing large, under a camera that flies."""
    size = (320, 192)
    return _field().crop((number * 11, number * 5, number * 11 + size[0], number * 5 + size[1]))


@cache
def _field() -> Image.Image:
    size = (700, 400)
    blades = Image.frombytes("L", size, random.Random(2).randbytes(size[0] * size[1]))
    soft = blades.filter(ImageFilter.GaussianBlur(1.2)).point(
        [max(0, min(255, (v - 128) * 4 + 128)) for v in range(256)]
    )
    return soft.convert("RGB")


def slow_pan(number: int) -> Image.Image:
    return _ground((200, 120)).transform(
        SIZE, Image.Transform.AFFINE, (1, 0, number / 8, 0, 1, 4), Image.Resampling.BICUBIC
    )


def slow_zoom(number: int) -> Image.Image:
    part = 1 - number / 1000
    moved = ((1 - part) * SIZE[0] / 2, (1 - part) * SIZE[1] / 2)
    return _ground(SIZE).transform(
        SIZE, Image.Transform.AFFINE, (part, 0, moved[0], 0, part, moved[1]), Image.Resampling.BICUBIC
    )


def flakes(number: int, under: Drawn, *, size: int = 1, many: int = 900) -> Image.Image:
    """Snow, rain or confetti, nowhere where it was a frame before."""
    picture, rng = under(number).copy(), random.Random(number)
    draw = ImageDraw.Draw(picture)
    for _ in range(many):
        x, y = rng.randrange(SIZE[0]), rng.randrange(SIZE[1])
        draw.rectangle((x, y, x + size - 1, y + size - 1), fill=(235, 235, 240))
    return picture


# Bad ones.


def plain(_number: int, colour: tuple[int, int, int] = _BLACK) -> Image.Image:
    return Image.new("RGB", SIZE, colour)


def noise(number: int, cell: int = 1, *, soft: bool = False) -> Image.Image:
    """Noise in cells of so many pixels: those of a latent become as large in the VAE."""
    small = _LARGE[0] // cell, _LARGE[1] // cell
    drawn = Image.frombytes("RGB", small, random.Random(number).randbytes(small[0] * small[1] * 3))
    return drawn.resize(_LARGE, Image.Resampling.BICUBIC if soft else Image.Resampling.NEAREST)


def grey_noise(number: int) -> Image.Image:
    return Image.merge("RGB", [noise(number).getchannel(0)] * 3)


def faint_noise(number: int) -> Image.Image:
    """Of a standard deviation of 18."""
    return _dimmed(noise(number), 0.25, 96)


def holes(
    number: int,
    under: Drawn = scene,
    *,
    first: int = 0,
    colour: tuple[int, int, int] = _BLACK,
    at: tuple[tuple[int, int, int, int], ...] = ((48, 16, 40, 40), (112, 56, 24, 16)),
) -> Image.Image:
    """Blocks that the VAE has decoded from no numbers."""
    picture = under(number).copy()
    if number >= first:
        for x, y, width, height in at:
            picture.paste(colour, (x, y, x + width, y + height))
    return picture


def bright_scene(number: int) -> Image.Image:
    return _dimmed(scene(number), 0.6, 70)


def _early(number: int) -> bool:
    return number < FRAMES // 2


_GREY: Final = partial(plain, colour=(127, 127, 127))
_GOOD: Final[dict[str, Drawn]] = {
    "scene": scene,
    "candle": candle,
    "blinking portrait": blink,
    "drifting stars": stars,
    "slow faint stars": partial(stars, bright=180, every=4),
    "fog": partial(waves, level=200, height=2.4),
    "dark sea": partial(waves, level=6, height=3, tint=(0.6, 0.8, 1.3)),
    "moon at night": moon,
    "grainy night": partial(grain, under=lambda number: _dimmed(scene(number), 0.15)),
    "grain on a still picture": partial(grain, under=still),
    "silhouette": silhouette,
    "growing logo": logo,
    "black screen in a room": box,
    "cartoon": cartoon,
    "cartoon that comes to rest": comes_to_rest,
    "pixel art": pixel_art,
    "letterbox": letterbox,
    "pillars": pillars,
    "fade in": partial(fades, over=lambda number: (number - 4) / 12),
    "fade out": partial(fades, over=lambda number: (20 - number) / 16),
    "strobe": partial(shown, is_shown=lambda number: number % 2 == 1, otherwise=plain),
    "slow strobe": partial(shown, is_shown=lambda number: number // 4 % 2 == 1, otherwise=plain),
    "white flashes": partial(
        shown, is_shown=lambda number: number % 3 > 0, otherwise=partial(plain, colour=(255, 255, 255))
    ),
    "light switched on": partial(shown, is_shown=lambda number: number > 12, otherwise=plain),
    "cut to black": partial(shown, is_shown=lambda number: number < 29, otherwise=plain),
    "leaves": leaves,
    "grass from the air": grass,
    "slow pan": slow_pan,
    "slow zoom": slow_zoom,
    "snowstorm": partial(flakes, under=lambda number: _dimmed(scene(number), 0.5)),
    "snow at night": partial(flakes, under=lambda _number: Image.new("RGB", SIZE, (6, 8, 14)), many=250),
    "confetti": partial(flakes, under=scene, size=4, many=150),
}
_BAD: Final[dict[tuple[str, str], Drawn]] = {
    ("black", "video-black"): plain,
    ("nearly black", "video-black"): partial(grain, under=plain, strength=52),
    ("black from the half on", "video-black"): partial(shown, is_shown=_early, otherwise=plain),
    ("grey", "video-one-colour"): _GREY,
    ("blue", "video-one-colour"): partial(plain, colour=(60, 120, 180)),
    ("white", "video-one-colour"): partial(plain, colour=(255, 255, 255)),
    ("grey from the half on", "video-one-colour"): partial(shown, is_shown=_early, otherwise=_GREY),
    ("noise", "video-noise"): noise,
    ("grey noise", "video-noise"): grey_noise,
    ("faint noise", "video-noise"): faint_noise,
    ("latent noise", "video-noise"): partial(noise, cell=8),
    ("soft latent noise", "video-noise"): partial(noise, cell=8, soft=True),
    ("large latent noise", "video-noise"): partial(noise, cell=16),
    ("soft large latent noise", "video-noise"): partial(noise, cell=16, soft=True),
    ("still noise", "video-noise"): lambda _number: noise(0),
    ("still latent noise", "video-noise"): lambda _number: noise(0, 8),
    ("still large latent noise", "video-noise"): lambda _number: noise(0, 16, soft=True),
    ("noise from the half on", "video-noise"): partial(
        shown, is_shown=_early, otherwise=noise, picture=lambda number: scene(number).resize(_LARGE)
    ),
    ("frozen", "video-frozen"): still,
    ("frozen grain", "video-frozen"): lambda _number: grain(0, still),
    ("frozen cartoon", "video-frozen"): lambda _number: cartoon(3),
    ("frozen from the third frame on", "video-frozen"): lambda number: scene(min(number, 2)),
    ("holes", "video-patches"): partial(holes, under=bright_scene),
    ("holes from a frame on", "video-patches"): partial(holes, under=bright_scene, first=9),
    ("white holes", "video-patches"): partial(holes, colour=(255, 255, 255)),
    ("holes off the grid", "video-patches"): partial(
        holes,
        under=lambda number: bright_scene(number).resize(_LARGE),
        at=((43, 41, 40, 40), (203, 123, 40, 40), (365, 207, 40, 40)),
    ),
    ("small white holes off the grid", "video-patches"): partial(
        holes, colour=(255, 255, 255), at=((43, 19, 16, 16), (107, 57, 20, 16))
    ),
    ("one small hole", "video-patches"): partial(holes, under=bright_scene, at=((64, 32, 16, 16),)),
}


_X264: Final = (Encoding(), Encoding(crf=14, fps=24), Encoding(crf=32))
_OTHERS: Final = (
    Encoding(encoder="libx265", crf=26),
    Encoding(encoder="libvpx-vp9", ending=".webm", crf=32),
    Encoding(encoder="libsvtav1", ending=".webm", crf=35, fps=24),
)
# Such files change plain colours, and keep one frame of those that are equal.
_ANIMATIONS: Final = (
    Encoding(encoder="gif", ending=".gif", crf=0),
    Encoding(encoder="webp", ending=".webp", crf=0),
)
_FAINT: Final = ("faint noise", "holes off the grid", "small white holes off the grid")
_MOVING: Final = ("scene", "cartoon", "strobe", "noise", "latent noise", "holes")


def _kinds() -> Iterator[tuple[str, str, Drawn]]:
    for name, drawn in _GOOD.items():
        yield name, "", drawn
    for (name, fault), drawn in _BAD.items():
        yield name, fault, drawn


def _clips(encodings: Callable[[int, str], Iterator[Encoding]]) -> tuple[KnownClip, ...]:
    return tuple(
        KnownClip(name=name, drawn=drawn, fault=fault, encoding=encoding)
        for number, (name, fault, drawn) in enumerate(_kinds())
        for encoding in encodings(number, name)
    )


def _every(_number: int, name: str) -> Iterator[Encoding]:
    yield from (*_X264, *_OTHERS)
    if name in _MOVING:
        yield from _ANIMATIONS


def _one(number: int, name: str) -> Iterator[Encoding]:
    """Any, but as the farm's own graphs encode what a strong compression makes into something else."""
    each = _ANIMATIONS if name in _MOVING else (Encoding(), Encoding(crf=32), *_OTHERS)
    yield Encoding() if name in _FAINT else each[number % len(each)]


CLIPS: Final = _clips(_every)
FEW: Final = _clips(_one)
