"""What a graph asks of a machine: its sampling stages, all files that they load, and what comes after."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.graphs.links import class_of, inputs_of
from comfy.graphs.required import ModelFile, model_files
from comfy.graphs.values import literal
from comfy.node_defs.definitions import Definitions
from comfy.wan.find import clip_size, runs_wan, size_bound
from comfy.wan.memory import (
    UNKNOWN_SIZE,
    MemoryNeed,
    activation_factor,
    need,
    vae_decode_bytes,
    vae_encode_bytes,
)
from comfy.wan.model_table import Kind
from comfy.wan.models import WAN_14B
from comfy.wan.names import family_of, file_bytes, is_guess, set_of
from comfy.wan.precision import Precision
from comfy.wan.roles import Roles, Stage, find_roles
from comfy.wan.rounds import rounds_of
from comfy.wan.sizes import ClipSize
from comfy.wan.weights import Weights, weights_of

_ATTENTION_INPUTS: Final = ("attention_mode", "sage_attention", "attention_override")
# Nodes that sample a long clip in overlapping pieces, and what they call length and overlap, in frames.
# Source: ComfyUI comfy_extras/nodes_context_windows.py; WanVideoWrapper nodes.py, ``WanVideoContextOptions``.
_WINDOWS: Final = re.compile(r"ContextWindows|ContextOptions")
_WINDOW_LENGTH: Final = ("context_length", "context_frames")
_NO_CHOICE: Final = frozenset({"disabled", "none", "default", "sdpa", "comfy"})
DEFAULT_ATTENTION: Final = "default"
_MEDIA_ROLES: Final = frozenset({"start_image", "end_image", "control_video", "reference_image", "image"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLoad:
    """One sampler, with what it loads and computes."""

    sampler_id: str
    label: str  # "high", "low", "single"
    weights: Weights
    loras: int  # how many are in its chain
    steps: int | None  # None: not known until the graph runs
    passes: int  # forward passes of a step: two with guidance
    passes_known: bool
    size: ClipSize  # of one window, where the clip is sampled in several
    windows: int
    memory: MemoryNeed
    extra: str  # what makes a step dearer than plain WAN: "vace", "6 windows", "3 rounds"; empty
    rounds: int | None = 1  # of the loop that it is in; None: known only when it runs


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFile:
    """A model file that the graph loads."""

    name: str
    folder: str
    size_bytes: int | None  # None: nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All that a graph asks of a machine."""

    stages: tuple[StageLoad, ...]  # in the order in which they run; never empty
    files: tuple[LoadedFile, ...]  # every one once: experts, encoder, VAE, LoRAs, side models
    size: ClipSize
    size_known: bool
    decode_bytes: int  # peak of the VAE's decoder, not tiled
    encode_bytes: int  # peak of its encoder; 0 when nothing is encoded
    multiplier: int  # frames that interpolation makes of one; 1: none
    interpolates: bool
    attention: str
    skips_steps: bool  # a step cache (TeaCache, EasyCache, …) is in the graph: fewer steps are computed

    @property
    def output_frames(self) -> int:
        """Frames of the clip that is saved."""
        return (self.size.frames - 1) * self.multiplier + 1 if self.multiplier > 1 else self.size.frames

    @property
    def file_bytes(self) -> int:
        """All files together, as far as they are known."""
        return sum(file.size_bytes or 0 for file in self.files)

    @property
    def frame_bytes(self) -> int:
        """The decoded frames in host memory, 32-bit floats; twice while interpolation copies them."""
        pixels = self.size.batch * self.size.width * self.size.height * 3 * 4
        own = self.size.frames * pixels
        return own + self.output_frames * pixels if self.interpolates else own

    def experts(self) -> tuple[Weights, ...]:
        """The diffusion models, each once."""
        return tuple({stage.weights.name: stage.weights for stage in self.stages}.values())

    def of_folder(self, *folders: str) -> int:
        """Bytes of the files of these kinds, as far as they are known."""
        return sum(file.size_bytes or 0 for file in self.files if file.folder in folders)


def read_workload(
    graph: Mapping[str, Any],
    real_sizes: Mapping[str, int] | None = None,
    definitions: Definitions | None = None,
) -> Workload | None:
    """Read what a checked graph asks for; None when no stage of it runs a WAN model that we know.

    Args:
        real_sizes: model file name as in the graph -> bytes on disk, where known.
        definitions: what a server says of its nodes.
    """
    roles = find_roles(graph, definitions)
    named = _with_rows(model_files(graph), roles)
    known = clip_size(roles)
    size = known or size_bound(roles) or UNKNOWN_SIZE
    window, windows = _window(graph, roles, size)
    words = ["vace"] if any("vace" in file.name.lower() for file in named) else []
    words += [f"{windows} windows"] if windows > 1 else []
    clip = _Sampled(
        size=window,
        certain=known is not None,
        extra=", ".join(words),
        factor=activation_factor(file.name for file in named),
        added_bytes=_added_bytes(named, roles, real_sizes),
    )
    found = _stages(graph, roles, clip, real_sizes)
    stages = tuple(_in_loop(graph, replace(stage, windows=windows)) for stage in found)
    if not stages:
        return None
    family = max((stage.weights.family for stage in stages), key=lambda each: each.parameters)
    return Workload(
        stages=stages,
        files=tuple(_files(named, stages, real_sizes)),
        size=size,
        size_known=known is not None,
        decode_bytes=vae_decode_bytes(size, family),
        encode_bytes=vae_encode_bytes(size, family) if _encodes(roles) else 0,
        multiplier=_multiplier(roles),
        interpolates=bool(roles.interpolations),
        attention=_attention(graph, roles),
        skips_steps=bool(roles.caches),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampled:
    """What all stages of a graph have in common."""

    size: ClipSize  # of one window
    certain: bool  # whether the clip's size is known
    extra: str
    factor: float  # on the activations
    added_bytes: int  # of the modules that are put on the model and stay on the card with it


def graph_need(graph: Mapping[str, Any], real_sizes: Mapping[str, int] | None = None) -> MemoryNeed | None:
    """What the stage needs that needs most; None when the graph runs no WAN model.

    Args:
        real_sizes: model file name as in the graph -> bytes on disk, where known: better than our table.
    """
    work = read_workload(graph, real_sizes)
    if work is None:
        return None
    return max((stage.memory for stage in work.stages), key=lambda need: (need.stream_bytes, need.full_bytes))


def smallest_vram_class_gib(graph: Mapping[str, Any]) -> int | None:
    """The smallest VRAM class that can run a graph; None when it names no WAN model that is known.

    What is only guessed at keeps no job from a small card: there it would wait for ever.
    """
    work = read_workload(graph)
    if work is None or any(is_guess(stage.weights.name) for stage in work.stages):
        return None
    return max(stage.memory.smallest_class_gib for stage in work.stages)


def _stages(
    graph: Mapping[str, Any], roles: Roles, clip: _Sampled, real_sizes: Mapping[str, int] | None
) -> Iterator[StageLoad]:
    by_nodes = runs_wan(graph, roles)
    for stage in roles.stages:
        found = _weights(graph, stage, real_sizes, by_nodes=by_nodes)
        if found is None:
            continue
        yield StageLoad(
            sampler_id=stage.sampler_id,
            label=stage.expert.value,
            weights=found,
            loras=len(stage.active_loras),
            steps=stage.steps_run,
            # A list of strengths, or one that is computed, is guidance most of the time.
            passes=1 if stage.guided is False else 2,
            passes_known=stage.guided is not None,
            size=clip.size,
            windows=1,
            memory=need(
                weights_bytes=found.resident_bytes + clip.added_bytes,
                size=clip.size,
                family=found.family,
                half_width_weights=found.precision is not Precision.WIDE,
                certain=clip.certain and found.certain,
                factor=clip.factor,
            ),
            extra=clip.extra,
        )


def _in_loop(graph: Mapping[str, Any], stage: StageLoad) -> StageLoad:
    rounds = rounds_of(graph, stage.sampler_id)
    if rounds == 1:
        return stage
    word = "a loop of unknown rounds" if rounds is None else f"{rounds} rounds"
    extra = ", ".join(filter(None, (stage.extra, word)))
    return replace(stage, rounds=rounds, extra=extra)


def _added_bytes(named: tuple[ModelFile, ...], roles: Roles, real_sizes: Mapping[str, int] | None) -> int:
    """What VACE, InfiniteTalk and the like weigh as files of their own, as far as it is known."""
    names = {
        (file.name, file.folder)
        for file in named
        if file.node_id in roles.running and set_of(file.name, Kind.ADDED) is not None
    }
    return sum(file_bytes(name, folder, real_sizes) or 0 for name, folder in names)


def _window(graph: Mapping[str, Any], roles: Roles, size: ClipSize) -> tuple[ClipSize, int]:
    """What is sampled at once, and how many of it make the clip."""
    for node_id in sorted(roles.running):
        if not _WINDOWS.search(class_of(graph, node_id) or ""):
            continue
        lengths = [literal(graph, node_id, name) for name in _WINDOW_LENGTH]
        length = next((each for each in lengths if isinstance(each, int)), None)
        overlap = literal(graph, node_id, "context_overlap")
        kept = overlap if isinstance(overlap, int) else 0
        if length is not None and 0 <= kept < length < size.frames:
            return replace(size, frames=length), math.ceil((size.frames - kept) / (length - kept))
    return size, 1


def _weights(
    graph: Mapping[str, Any], stage: Stage, real_sizes: Mapping[str, int] | None, *, by_nodes: bool
) -> Weights | None:
    loader, name = stage.loader, stage.file_name
    if loader is None or name is None:
        return None
    # A merge may be called anything: among WAN's nodes it is taken for the usual one, and said to be a guess.
    family = family_of(name) or (WAN_14B if by_nodes else None)
    return None if family is None else weights_of(graph, loader.node_id, name, family, real_sizes)


def _with_rows(named: tuple[ModelFile, ...], roles: Roles) -> tuple[ModelFile, ...]:
    """The files that inputs name, and the LoRAs that stand in rows."""
    known = {file.name for file in named}
    rows = (lora for stage in roles.stages for lora in stage.active_loras)
    return named + tuple(
        ModelFile(
            name=lora.file.value, folder="loras", node_id=lora.node_id, input_name=lora.file.asked.input_name
        )
        for lora in rows
        if isinstance(lora.file.value, str) and lora.file.value not in known
    )


def _files(
    named: tuple[ModelFile, ...], stages: tuple[StageLoad, ...], real_sizes: Mapping[str, int] | None
) -> Iterator[LoadedFile]:
    assumed = {stage.weights.name: stage.weights.file_bytes for stage in stages}
    seen: dict[tuple[str, str], ModelFile] = {(file.folder, file.name): file for file in named}
    for file in seen.values():
        size_bytes = file_bytes(file.name, file.folder, real_sizes)
        yield LoadedFile(
            name=file.name,
            folder=file.folder,
            size_bytes=assumed.get(file.name) if size_bytes is None else size_bytes,
        )


def _encodes(roles: Roles) -> bool:
    return any(role in _MEDIA_ROLES or role.endswith(("_image", "_video")) for role in roles.settings)


def _multiplier(roles: Roles) -> int:
    found = 1
    for each in roles.interpolations:
        times = each.multiplier.whole if each.multiplier is not None else None
        found *= max(times or 2, 1)
    return found


def _attention(graph: Mapping[str, Any], roles: Roles) -> str:
    """The back-end that the graph asks for, where it asks for one."""
    for node_id in sorted(roles.running):
        for name in _ATTENTION_INPUTS:
            value = inputs_of(graph, node_id).get(name)
            if isinstance(value, str) and value not in _NO_CHOICE:
                return value
    return DEFAULT_ATTENTION
