"""Find what a plain graph will make: its size, its steps, its model; and a short title from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from comfy.links import class_of, literal
from comfy.required import model_files, running_nodes
from comfy.wan.models import family_of
from comfy.wan.sizes import ClipSize

_FRAMES_INPUTS = ("length", "num_frames", "frames")
_SAMPLER = re.compile(r"^(KSampler|KSamplerAdvanced|WanVideoSampler)$")
_TASK = re.compile(r"(?<![a-z0-9])(ti2v|t2v|i2v|s2v|flf2v|vace|animate)(?![a-z0-9])")


def clip_size(graph: Mapping[str, Any]) -> ClipSize | None:
    """Give the largest clip that a running node of the graph asks for as literals; None when none does."""
    sizes = [size for node_id in running_nodes(graph) if (size := _size_of(graph, node_id)) is not None]
    return max(sizes, key=lambda size: size.area(), default=None)


def sampler_steps(graph: Mapping[str, Any], node_id: str) -> int | None:
    """Count the steps that one sampler node runs; None when it is no sampler or a link hides the number."""
    if not _SAMPLER.match(class_of(graph, node_id) or ""):
        return None
    steps = _integer(graph, node_id, "steps")
    if steps is None:
        return None
    start = _first(graph, node_id, "start_at_step", "start_step") or 0
    end = _first(graph, node_id, "end_at_step", "end_step")
    # WanVideoSampler writes -1 for "to the end", KSamplerAdvanced a number beyond it.
    last = steps if end is None or end < 0 else min(end, steps)
    return max(last - start, 0)


def total_steps(graph: Mapping[str, Any]) -> int | None:
    """Add up the steps of all running samplers; None when there are none, or a link hides a number."""
    running = running_nodes(graph)
    counts = [
        sampler_steps(graph, node_id)
        for node_id in graph
        if node_id in running and _SAMPLER.match(class_of(graph, node_id) or "")
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def describe(graph: Mapping[str, Any]) -> str:
    """Give a short title such as "WAN 2.2 T2V A14B 832×480 81f 20 steps"; it never holds a prompt's text."""
    parts = [_model_title(graph)]
    size = clip_size(graph)
    if size is not None:
        parts += [f"{size.width}×{size.height}", f"{size.frames}f"]
    steps = total_steps(graph)
    if steps is not None:
        parts.append(f"{steps} steps")
    return " ".join(parts)


def _model_title(graph: Mapping[str, Any]) -> str:
    for file in model_files(graph):
        name = re.split(r"[/\\]", file.name)[-1].lower()
        family = family_of(name)
        if file.folder != "diffusion_models" or family is None:
            continue
        version = "2.2" if re.search(r"wan_?2[._]?2", name) else "2.1"
        task = _TASK.search(name.replace("_", " ").replace("-", " "))
        paired = "high_noise" in name or "low_noise" in name or "highnoise" in name or "lownoise" in name
        words = [
            f"WAN {version}",
            task.group(1).upper() if task else "",
            ("A" if paired else "") + family.name,
        ]
        return " ".join(word for word in words if word)
    return f"graph of {len(graph)} nodes"


def _size_of(graph: Mapping[str, Any], node_id: str) -> ClipSize | None:
    width, height = _integer(graph, node_id, "width"), _integer(graph, node_id, "height")
    frames = _first(graph, node_id, *_FRAMES_INPUTS)
    if not (width and height and frames) or min(width, height, frames) < 1:
        return None
    batch = _integer(graph, node_id, "batch_size") or 1
    return ClipSize(width=width, height=height, frames=frames, batch=max(batch, 1))


def _first(graph: Mapping[str, Any], node_id: str, *input_names: str) -> int | None:
    values = (_integer(graph, node_id, name) for name in input_names)
    return next((value for value in values if value is not None), None)


def _integer(graph: Mapping[str, Any], node_id: str, input_name: str) -> int | None:
    value = literal(graph, node_id, input_name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
