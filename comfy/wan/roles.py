"""What each node of a graph is for, whatever its class is called: `find_roles`.

Keyed on what travels over the links and where the nodes stand; class names are only looked up. Only nodes
that run count, and every value comes with the input where it is really set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from comfy.graphs.links import ancestors
from comfy.graphs.values import InputPath, Setting, side_of_picture
from comfy.node_defs.definitions import Definitions
from comfy.node_defs.node_classes import (
    HEIGHT,
    SAVES_AT_ALL,
    WIDTH,
    Names,
    Work,
    cleans_memory,
    interpolates,
    likely_only_shows,
    node_class,
    what_it_names,
    work_of,
)
from comfy.wan.media import END_IMAGE, START_IMAGE, find_media
from comfy.wan.models import Expert
from comfy.wan.parts import Interpolation, Loader, Lora, Output, Part, Size, Stage
from comfy.wan.reader import Carried, Reader
from comfy.wan.stages import find_stages, is_sampler, loader_of, sampling_nodes
from comfy.wan.wording import find_prompts, text_encoders

__all__ = [
    "END_IMAGE",
    "START_IMAGE",
    "Expert",
    "Interpolation",
    "Loader",
    "Lora",
    "Output",
    "Part",
    "Roles",
    "Size",
    "Stage",
    "find_roles",
]

_FRAMES: Final = ("length", "num_frames", "frames", "video_length", "frame_count", "num_video_frames")
# Not where a picture is to be cut or laid: only what stands beside a number of frames is asked.
_WIDTH: Final = re.compile(r"(\w+_)?width")
# Where a clip of any length is sampled in pieces: the frames of one. What follows a sound or a video may
# call them as others call the length of a clip, and says beside them how far the pieces overlap.
_PIECES: Final = ("frame_window_size", "chunk_length")
_OVERLAPS: Final = ("motion_frame", "motion_frame_count", "overlap")
# A latent of one picture: WAN makes a clip of one frame of it.
_STILL: Final = re.compile(r"Empty\w*Latent")
_ENCODES: Final = re.compile(r"VAEEncode(Tiled)?$|WanVideoEncode")
_EMBEDS: Final = re.compile(r"WanVideo\w*Embeds$")
_MOST_FRAMES: Final = 100_000
_SECONDS: Final = ("seconds", "duration", "video_seconds", "duration_seconds")
_FPS: Final = ("fps", "frame_rate")
_MULTIPLIER: Final = ("multiplier", "interpolation_factor")
# Source: ComfyUI-Easy-Use py/nodes/image.py.
_EASY_SAVES: Final = "image_output"
_EASY_SHOWS: Final = ("Hide", "Preview", "Preview&Choose", "Hide&Choose")
_CACHE: Final = re.compile(r"(Tea|Mag|Easy|Lazy|FirstBlock|FB)_?Cache")
_BLOCK_SWAP: Final = re.compile(r"BlockSwap|VRAMManagement")
_UPSCALE: Final = re.compile(r"(Upscale|ImageScale|ImageResize|SeedVR)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The parts of a graph that run."""

    # Role -> every input that has it: "prompt", "negative", "seed", "width", "height", "frames", "fps",
    # "steps", "cfg", "shift", "start_image", "end_image", and media by the name under which they arrive.
    settings: Mapping[str, tuple[Setting, ...]]
    stages: tuple[Stage, ...]  # in the order in which they run
    sizes: tuple[Size, ...]  # what is sampled, the largest known one first
    text_encoders: tuple[Loader, ...]
    vaes: tuple[Loader, ...]
    decodes: tuple[Part, ...]
    interpolations: tuple[Interpolation, ...]
    upscalers: tuple[Part, ...]  # what changes the picture's size after it was decoded
    caches: tuple[Part, ...]  # what skips steps: TeaCache, EasyCache, …
    block_swaps: tuple[Part, ...]
    outputs: tuple[Output, ...]
    running: frozenset[str]  # the ids of the nodes that run

    def of(self, role: str) -> tuple[Setting, ...]:
        """Every input that has a role; empty when the graph has none."""
        return self.settings.get(role, ())

    def one(self, role: str) -> Setting | None:
        """The only input that has a role; None when there is none, or more than one."""
        found = self.of(role)
        return found[0] if len(found) == 1 else None

    def value(self, role: str) -> Any:
        """The value of a role, when all inputs that have it agree on a known one; else None."""
        values = [each.value for each in self.of(role)]
        return values[0] if values and all(value == values[0] for value in values) else None


def find_roles(graph: Mapping[str, Any], definitions: Definitions | None = None) -> Roles:
    """Find what the running nodes of a checked graph are for.

    Args:
        definitions: what a server says of its nodes: link types and outputs that names alone do not tell.
    """
    reader = Reader(graph, definitions)
    stages = find_stages(reader)
    sizes = _find_sizes(reader)
    outputs = _find_outputs(reader)
    decodes = _parts(reader, lambda node_id: _is_decode(reader, node_id))
    after = reader.fed_by(part.node_id for part in decodes)
    return Roles(
        settings=_settings(reader, stages, sizes, outputs),
        stages=stages,
        sizes=sizes,
        text_encoders=tuple(loader_of(reader, node_id) for node_id in text_encoders(reader)),
        vaes=_find_vaes(reader),
        decodes=decodes,
        interpolations=_find_interpolations(reader),
        upscalers=_named(reader, _UPSCALE, among=after),
        caches=_named(reader, _CACHE, among=reader.running),
        block_swaps=_named(reader, _BLOCK_SWAP, among=reader.running),
        outputs=outputs,
        running=reader.running,
    )


def _settings(
    reader: Reader, stages: tuple[Stage, ...], sizes: tuple[Size, ...], outputs: tuple[Output, ...]
) -> Mapping[str, tuple[Setting, ...]]:
    found: dict[str, list[Setting | None]] = {"prompt": [], "negative": []}
    for sampler_id in dict.fromkeys(stage.sampler_id for stage in stages):
        positive, negative = find_prompts(reader, sampling_nodes(reader, sampler_id))
        found["prompt"] += positive
        found["negative"] += negative
    found["seed"] = [stage.get("seed") for stage in stages if stage.adds_noise]
    found["width"] = [size.width for size in sizes[:1]]
    found["height"] = [size.height for size in sizes[:1]]
    found["frames"] = [size.frames for size in _lengths(reader, sizes)]
    # Where nothing is kept, what is shown says how fast the clip plays.
    told = [output for output in outputs if output.saves and output.fps is not None] or outputs
    found["fps"] = [output.fps for output in told]
    for role in ("steps", "cfg", "shift"):
        found[role] = [stage.get(role) for stage in stages]
    media: dict[str, list[Setting | None]] = {role: [*files] for role, files in find_media(reader).items()}
    # A single picture without a telling name is where the clip starts.
    if sizes and START_IMAGE not in media and len(media.get("image", ())) == 1:
        media[START_IMAGE] = media.pop("image")
    found.update(media)
    distinct = {role: _distinct(each) for role, each in found.items()}
    return MappingProxyType({role: each for role, each in distinct.items() if each})


def _lengths(reader: Reader, sizes: tuple[Size, ...]) -> Iterator[Size]:
    """The sizes that say how long the clip is: the first, and others whose length follows from elsewhere.

    Where another one's comes from a sound, or from a video that is no work of the first, nobody knows which
    of the two the clip has.
    """
    for first in sizes[:1]:
        if first.is_piece:
            return
        yield first
        for other in sizes[1:]:
            source = other.frames.source_id
            if source is None or other.frames.value is not None or other.is_piece:
                continue
            if first.node_id not in ancestors(reader.graph, [source]):
                yield other


def _distinct(found: Iterable[Setting | None]) -> tuple[Setting, ...]:
    by_input: dict[InputPath, Setting] = {}
    for each in found:
        if each is not None:
            by_input.setdefault(each.asked, each)
    return tuple(by_input.values())


def _find_sizes(reader: Reader) -> tuple[Size, ...]:
    found = [size for node_id in reader.nodes() if (size := _size_told(reader, node_id)) is not None]
    found = found or [
        size for node_id in reader.nodes() if (size := _size_encoded(reader, node_id)) is not None
    ]
    return tuple(sorted(found, key=_area, reverse=True))


def _size_told(reader: Reader, node_id: str) -> Size | None:
    """The size that a node's own inputs say."""
    piece = reader.setting(node_id, *_PIECES)
    frames = reader.setting(node_id, *_FRAMES) or piece or _of_seconds(reader, node_id)
    still = frames is None and _STILL.match(reader.class_type(node_id)) is not None
    sides = _sides(reader, node_id) if frames is not None or still else None
    if sides is None:
        return None
    return Size(
        node_id=node_id,
        class_type=reader.class_type(node_id),
        width=sides[0],
        height=sides[1],
        frames=frames or replace(sides[0], value=1),
        batch=reader.setting(node_id, "batch_size"),
        is_piece=still or frames is piece or _samples_pieces(reader, node_id),
    )


def _size_encoded(reader: Reader, node_id: str) -> Size | None:
    """The size of a picture or video that is encoded to be sampled; its frames may be told elsewhere."""
    if _ENCODES.match(reader.class_type(node_id)) is None:
        return None
    name = next(iter(reader.linked(node_id, Carried.MEDIA)), "")
    sides = [side_of_picture(reader.graph, node_id, name, side) for side in (WIDTH, HEIGHT)]
    width, height = sides
    if width is None or height is None:
        return None
    told = [
        reader.setting(each, *_FRAMES) for each in reader.nodes() if _EMBEDS.match(reader.class_type(each))
    ]
    frames = max((each for each in told if each is not None), key=lambda each: each.whole or 0, default=None)
    return Size(
        node_id=node_id,
        class_type=reader.class_type(node_id),
        width=width,
        height=height,
        frames=frames or replace(width, value=None, at_most=None),
        batch=None,
        is_piece=frames is None,
    )


def _samples_pieces(reader: Reader, node_id: str) -> bool:
    return is_sampler(reader, node_id) and any(name in reader.inputs(node_id) for name in _OVERLAPS)


def _of_seconds(reader: Reader, node_id: str) -> Setting | None:
    """The length of a latent that is asked for in seconds: no more frames than these hold."""
    if not reader.makes(node_id, Carried.LATENT):
        return None
    seconds, rate = reader.setting(node_id, *_SECONDS), reader.setting(node_id, *_FPS)
    if seconds is None or rate is None:
        return None
    given = seconds.value, rate.value
    known = all(isinstance(each, int | float) and 0 < each < _MOST_FRAMES for each in given)
    most = math.ceil(math.prod(given)) + 1 if known else None
    return replace(seconds, value=None, at_most=most)


def _sides(reader: Reader, node_id: str) -> tuple[Setting, Setting] | None:
    """Width and height, whatever stands before these words: "generation_width", "target_width"."""
    names = [name for name in reader.inputs(node_id) if _WIDTH.fullmatch(name)]
    for name in sorted(names, key=len):
        width = reader.setting(node_id, name)
        height = reader.setting(node_id, f"{name.removesuffix('width')}height")
        if width is not None and height is not None:
            return width, height
    return None


def _area(size: Size) -> float:
    known = [each.whole or each.at_most for each in (size.width, size.height, size.frames)]
    return math.prod(each or 0 for each in known)


def _find_outputs(reader: Reader) -> tuple[Output, ...]:
    return tuple(
        Output(
            node_id=node_id,
            class_type=reader.class_type(node_id),
            saves=_saves(reader, node_id),
            fps=_fps_of(reader, node_id),
            format=reader.setting(node_id, "format"),
        )
        for node_id in reader.outputs
    )


def _saves(reader: Reader, node_id: str) -> bool:
    """Whether what an output makes is kept: a file, and not a text on its face or a cleaned memory."""
    class_type = reader.class_type(node_id)
    if likely_only_shows(class_type) or reader.value(node_id, _EASY_SAVES) in _EASY_SHOWS:
        return False
    keeps = reader.setting(node_id, SAVES_AT_ALL)
    if keeps is not None:
        return keeps.value is not False
    writes = "save" in class_type.lower() or node_class(class_type).rate is not None
    if writes or any(
        what_it_names(class_type, name) in (Names.OUTPUT_PREFIX, Names.PATH)
        for name in reader.inputs(node_id)
    ):
        return True
    return bool(reader.linked(node_id, Carried.MEDIA)) and not cleans_memory(class_type)


def _fps_of(reader: Reader, node_id: str) -> Setting | None:
    """The rate at which an output plays: its own, or that of the node that makes a video of the frames."""
    seen: set[str] = set()
    at: str | None = node_id
    while at is not None and at not in seen:
        seen.add(at)
        if (found := reader.setting(at, *_FPS)) is not None:
            return found
        names = reader.linked(at, Carried.MEDIA)
        source = reader.source(at, names[0]) if names else None
        at = None if source is None else source[0]
    return None


def _is_decode(reader: Reader, node_id: str) -> bool:
    if work_of(reader.class_type(node_id)) is Work.VAE:
        return True
    taken = reader.linked(node_id, Carried.LATENT), reader.linked(node_id, Carried.VAE)
    return all(taken) and reader.makes(node_id, Carried.MEDIA)


def _find_vaes(reader: Reader) -> tuple[Loader, ...]:
    found: dict[str, None] = {}
    for node_id in reader.nodes():
        for name in reader.linked(node_id, Carried.VAE):
            if (source := reader.source(node_id, name)) is not None:
                found[source[0]] = None
    return tuple(loader_of(reader, node_id) for node_id in found)


def _find_interpolations(reader: Reader) -> tuple[Interpolation, ...]:
    return tuple(
        Interpolation(
            node_id=part.node_id,
            class_type=part.class_type,
            multiplier=reader.setting(part.node_id, *_MULTIPLIER),
        )
        for part in _parts(reader, lambda node_id: interpolates(reader.class_type(node_id)))
    )


def _named(reader: Reader, pattern: re.Pattern[str], *, among: Iterable[str]) -> tuple[Part, ...]:
    wanted = frozenset(among)
    return _parts(
        reader, lambda node_id: node_id in wanted and bool(pattern.search(reader.class_type(node_id)))
    )


def _parts(reader: Reader, fits: Callable[[str], bool]) -> tuple[Part, ...]:
    return tuple(
        Part(node_id=node_id, class_type=reader.class_type(node_id))
        for node_id in reader.nodes()
        if fits(node_id)
    )
