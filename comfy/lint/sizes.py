"""Rules about sizes and what is done with the frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.graphs.links import ancestors
from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.wan.sizes import FRAMES

# A plain resize costs nothing; there, to interpolate the smaller frames is right.
_COSTLY: Final = re.compile(r"Model|SeedVR")
_WAN_NODES: Final = "https://github.com/Comfy-Org/ComfyUI (comfy_extras/nodes_wan.py)"


def _frames(subject: Subject) -> Iterator[Found]:
    for size in subject.roles.sizes:
        frames = size.frames.whole
        if frames is not None and frames > 0 and (fault := FRAMES.fault(frames)):
            yield Found(message=fault, node_id=size.node_id, input_name=size.frames.asked.input_name)


def _sides(subject: Subject) -> Iterator[Found]:
    for size in subject.roles.sizes:
        step = size.sides.step
        for side in (size.width, size.height):
            value = side.whole
            if value is None or value <= 0 or value % step == 0:
                continue
            near = size.sides.neighbours(value)
            message = f"{value} is no multiple of {step}; near are {' and '.join(map(str, near))}"
            yield Found(message=message, node_id=size.node_id, input_name=side.asked.input_name)


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
    ),
)
