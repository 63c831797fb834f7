"""Rules about sizes and what is done with the frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.graphs.links import ancestors, inputs_of
from comfy.graphs.values import Setting, setting
from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.wan.sizes import FRAMES, sides_of

# A plain resize costs nothing; there, to interpolate the smaller frames is right.
_COSTLY: Final = re.compile(r"Model|SeedVR|UpscalerTensorrt")
# Nodes that say how large a latent is, whether or not they say all of it.
_MAKES_LATENT: Final = re.compile(
    r"(?!.*(Audio|S2V))(Wan[A-Z0-9]\w*(ToVideo|Embeds|Encode|Latent|Extend)|WanVideo\w*Encode"
    r"|EmptyHunyuanLatentVideo$)"
)
_LENGTHS: Final = ("length", "num_frames", "frames", "video_length", "frame_window_size")
_SIDES: Final = ("width", "height", "generation_width", "generation_height")
_WAN_NODES: Final = "https://github.com/Comfy-Org/ComfyUI (comfy_extras/nodes_wan.py)"


def _frames(subject: Subject) -> Iterator[Found]:
    for node_id, name, measure in _measures(subject, _LENGTHS):
        frames = measure.whole
        # A long clip is sampled in pieces: there is no number that is too many.
        if frames is not None and frames > 0 and (frames - FRAMES.offset) % FRAMES.step:
            near = " and ".join(map(str, FRAMES.neighbours(frames)))
            message = f"{frames} is not {FRAMES.rule}; near are {near}"
            yield Found(message=message, node_id=node_id, input_name=name)


def _sides(subject: Subject) -> Iterator[Found]:
    for node_id, name, measure in _measures(subject, _SIDES):
        grid, value = sides_of(subject.class_of(node_id)), measure.whole
        if value is None or value <= 0 or value % grid.step == 0:
            continue
        near = " and ".join(map(str, grid.neighbours(value)))
        message = f"{value} is no multiple of {grid.step}; near are {near}"
        yield Found(message=message, node_id=node_id, input_name=name)


def _measures(subject: Subject, names: tuple[str, ...]) -> Iterator[tuple[str, str, Setting]]:
    """Where a node that makes a latent for WAN is told a measure of the clip."""
    sampled = {size.node_id for size in subject.roles.sizes}
    for node_id in subject.running():
        if node_id not in sampled and not _MAKES_LATENT.match(subject.class_of(node_id)):
            continue
        for name in names:
            if name in inputs_of(subject.graph, node_id):
                found = setting(subject.graph, node_id, name)
                if found is not None:
                    yield node_id, found.asked.input_name, found


def _order(subject: Subject) -> Iterator[Found]:
    costly = [each.node_id for each in subject.roles.upscalers if _COSTLY.search(each.class_type)]
    before = ancestors(subject.graph, costly) if costly else set()
    for interpolation in subject.roles.interpolations:
        if interpolation.node_id in before:
            message = f"{interpolation.class_type} makes frames that a model then upscales one by one"
            yield Found(message=message, node_id=interpolation.node_id)


RULES: Final = (
    Rule(
        id="frames-grid",
        severity=Severity.WARNING,
        title="a number of frames that is not 4n+1: ComfyUI rounds it without a word",
        remedy="set one of the named numbers",
        source=_WAN_NODES,
        check=_frames,
    ),
    Rule(
        id="size-grid",
        severity=Severity.WARNING,
        title="a width or height off the model's grid (16 pixels, 32 for the 5B model)",
        remedy="set one of the named numbers",
        source=_WAN_NODES,
        check=_sides,
    ),
    Rule(
        id="interpolate-before-upscale",
        severity=Severity.WARNING,
        title="frames are interpolated before a model upscales them: so many more to upscale",
        remedy="upscale first, then interpolate",
        source="https://github.com/Fannovel16/ComfyUI-Frame-Interpolation",
        check=_order,
        any_model=True,
    ),
)
