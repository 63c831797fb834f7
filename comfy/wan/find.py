"""Find what a plain graph will make: its size, its steps, its model; and a short title from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from comfy.graphs.links import class_of
from comfy.graphs.required import model_files
from comfy.wan.names import expert_of_file, family_of, set_of
from comfy.wan.roles import Roles, find_roles
from comfy.wan.sizes import ClipSize

_OF_WAN = re.compile(r"Wan(?![a-z])|LoadWanVideo|EmptyHunyuanLatentVideoWan")
_TASK = re.compile(r"(?<![a-z0-9])(ti2v|t2v|i2v|s2v|flf2v|vace|animate)(?![a-z0-9])")


def clip_size(roles: Roles) -> ClipSize | None:
    """Give the largest clip that a running node of the graph asks for; None when no size is known."""
    return _largest(roles, bound=False)


def size_bound(roles: Roles) -> ClipSize | None:
    """Give a size that the clip does not exceed; None when not even that is known before the graph runs."""
    return _largest(roles, bound=True)


def steps_by_sampler(graph: Mapping[str, Any]) -> dict[str, int]:
    """Count the steps that each running sampler runs; one whose steps are computed is left out."""
    counts: dict[str, int] = {}
    for stage in find_roles(graph).stages:
        if stage.steps_run is not None:
            counts[stage.sampler_id] = counts.get(stage.sampler_id, 0) + stage.steps_run
    return counts


def runs_wan(graph: Mapping[str, Any], roles: Roles) -> bool:
    """Whether a graph runs a WAN model, by its files, or where those do not tell by its nodes."""
    if any(set_of(stage.file_name or "") is not None for stage in roles.stages):
        return True
    return any(_OF_WAN.match(class_of(graph, node_id) or "") for node_id in roles.running)


def describe(graph: Mapping[str, Any]) -> str:
    """Give a short title such as "WAN 2.2 T2V A14B 832×480 81f 20 steps"."""
    parts = [_model_title(graph)]
    roles = find_roles(graph)
    size = clip_size(roles)
    if size is not None:
        parts += [f"{size.width}×{size.height}", f"{size.frames}f"]
    steps = _total_steps(roles)
    if steps is not None:
        parts.append(f"{steps} steps")
    return " ".join(parts)


def _model_title(graph: Mapping[str, Any]) -> str:
    for file in model_files(graph):
        name = re.split(r"[/\\]", file.name)[-1]
        family = family_of(name)
        if file.folder != "diffusion_models" or family is None:
            continue
        version = "2.2" if re.search(r"wan_?2[._]?2", name.lower()) else "2.1"
        task = _TASK.search(name.lower().replace("_", " ").replace("-", " "))
        paired = expert_of_file(name) is not None
        words = [
            f"WAN {version}",
            task.group(1).upper() if task else "",
            ("A" if paired else "") + family.name,
        ]
        return " ".join(word for word in words if word)
    return f"graph of {len(graph)} nodes"


def _largest(roles: Roles, *, bound: bool) -> ClipSize | None:
    """The largest of the known sizes; `bound`: or of those of which it is known what they do not exceed."""
    for size in roles.sizes:
        asked = (size.width, size.height, size.frames)
        width, height, frames = (each.whole or (each.at_most if bound else None) for each in asked)
        if width and height and frames and min(width, height, frames) > 0:
            batch = max((size.batch.whole if size.batch else None) or 1, 1)
            return ClipSize(width=width, height=height, frames=frames, batch=batch)
    return None


def _total_steps(roles: Roles) -> int | None:
    counts = [stage.steps_run for stage in roles.stages]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
