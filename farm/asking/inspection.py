"""What there is in a graph, for people and programs: every role, where it is set, and what it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from comfy.graphs.graph import Graph
from comfy.graphs.links import class_of
from comfy.graphs.required import input_files, model_files, node_classes
from comfy.graphs.values import Setting
from comfy.node_defs.definitions import shipped_definitions
from comfy.wan.find import describe
from comfy.wan.models import Expert
from comfy.wan.names import file_bytes
from comfy.wan.parts import Loader, Part, Stage
from comfy.wan.roles import Roles
from farm.asking.graphs import roles_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was found."""

    role: str
    node: str  # the node that plays the part
    class_type: str
    value: Any  # None: there is none, or it is not known before the graph runs
    input_path: str | None  # "node.input" where the value is set
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededModel:
    """A model file that the graph names."""

    folder: str
    name: str
    input_path: str
    size_bytes: int | None  # as published; None: not in our table


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What comes out, as far as the graph tells before it runs."""

    width: int | None  # pixels, before any upscaling
    height: int | None
    frames: int | None  # in the file, interpolation counted
    fps: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All of it."""

    title: str
    nodes: int
    running: int  # of these, how many feed an output
    clip: Clip
    rows: tuple[Row, ...]
    models: tuple[NeededModel, ...]
    files: tuple[str, ...]  # of ComfyUI's input folder, as "node.input: name"
    unknown_classes: tuple[str, ...]  # that are not in the farm's own list of nodes; a worker may have them
    notes: tuple[str, ...] = ()  # what was taken otherwise than it stands in the file, in words


def inspect_graph(graph: Graph) -> Inspection:
    """Look into a checked graph."""
    roles = roles_of(graph)
    known = shipped_definitions()
    return Inspection(
        title=describe(graph),
        nodes=len(graph),
        running=len(roles.running),
        clip=clip_of(roles),
        rows=tuple(_rows(graph, roles)),
        models=tuple(
            NeededModel(
                folder=file.folder,
                name=file.name,
                input_path=f"{file.node_id}.{file.input_name}",
                size_bytes=file_bytes(file.name, file.folder),
            )
            for file in model_files(graph)
        ),
        files=tuple(f"{file.node_id}.{file.input_name}: {file.name}" for file in input_files(graph)),
        unknown_classes=tuple(name for name in node_classes(graph) if name not in known),
    )


def clip_of(roles: Roles) -> Clip:
    """Work out the clip that the graph makes."""
    sampled = roles.value("frames")
    factor = 1
    for each in roles.interpolations:
        multiplier = each.multiplier.value if each.multiplier is not None else None
        factor = factor * multiplier if isinstance(multiplier, int) and factor else 0
    # Frames are put between frames, so none follow the last one.
    frames = (sampled - 1) * factor + 1 if isinstance(sampled, int) and factor else None
    fps = roles.value("fps")
    rate = float(fps) if isinstance(fps, int | float) and fps > 0 else None
    return Clip(
        width=roles.value("width"),
        height=roles.value("height"),
        frames=frames,
        fps=rate,
        seconds=round(frames / rate, 2) if frames is not None and rate is not None else None,
    )


def _rows(graph: Graph, roles: Roles) -> Iterator[Row]:
    for role, settings in roles.settings.items():
        if role not in ("steps", "cfg", "shift"):  # told of each stage
            yield from (_row(graph, role, each) for each in settings)
    for number, stage in enumerate(roles.stages, 1):
        yield from _stage_rows(graph, stage, number)
    for encoder in roles.text_encoders:
        yield _loader_row(graph, "text encoder", encoder)
    for vae in roles.vaes:
        yield _loader_row(graph, "VAE", vae)
    yield from _part_rows("decode", roles.decodes)
    for each in roles.interpolations:
        yield (
            _row(graph, "interpolation", each.multiplier) if each.multiplier else _part("interpolation", each)
        )
    yield from _part_rows("upscale", roles.upscalers)
    yield from _part_rows("cache", roles.caches)
    yield from _part_rows("block swap", roles.block_swaps)
    for output in roles.outputs:
        row = _part("output", output) if output.format is None else _row(graph, "output", output.format)
        yield row if output.saves else replace(row, note="a preview: not kept")


def _stage_rows(graph: Graph, stage: Stage, number: int) -> Iterator[Row]:
    name = "model" if stage.expert is Expert.SINGLE else f"{stage.expert}-noise expert"
    role = f"stage {number}"
    if stage.loader is not None:
        row = _loader_row(graph, f"{role}: {name}", stage.loader)
        yield row if stage.expert is Expert.SINGLE else replace(row, note=f"by {stage.evidence}")
    for lora in stage.loras:
        strength = lora.strength.value if lora.strength is not None else None
        row = _row(graph, f"{role}: LoRA", lora.file)
        yield row if strength is None else replace(row, note=f"strength {strength}")
    yield from _part_rows(f"{role}: patch", stage.patches)
    for setting in ("steps", "start", "end", "cfg", "shift", "sampler", "scheduler", "denoise"):
        found = stage.get(setting)
        if found is not None:
            yield _row(graph, f"{role}: {setting}", found)


def _row(graph: Graph, role: str, found: Setting) -> Row:
    note = ""
    if found.is_computed:
        note = f"computed by node {found.source_id} ({class_of(graph, found.source_id)})"
    return Row(
        role=role,
        node=found.asked.node_id,
        class_type=class_of(graph, found.asked.node_id) or "",
        value=found.value,
        input_path=str(found.set_at),
        note=note,
    )


def _loader_row(graph: Graph, role: str, loader: Loader) -> Row:
    return _part(role, loader) if loader.file is None else _row(graph, role, loader.file)


def _part_rows(role: str, parts: Iterable[Part]) -> Iterator[Row]:
    return (_part(role, each) for each in parts)


def _part(role: str, part: Part) -> Row:
    return Row(role=role, node=part.node_id, class_type=part.class_type, value=None, input_path=None)
