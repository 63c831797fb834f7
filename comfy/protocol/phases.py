"""Which phase of the work a node is, and how much of the whole it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from comfy.graphs.links import class_of
from comfy.graphs.values import literal
from comfy.node_defs.node_classes import Work, work_of


class Phase(StrEnum):
    """What a run is busy with: the `Work` of a node's class, and what is no node's."""

    QUEUED = "queued"  # the server has not begun
    LOAD = "load"  # a loader; ComfyUI may put the weights on the card only when a sampler asks for them
    TEXT = "text"  # prompts through the text encoder
    IMAGE = "image"  # start images through CLIP vision or the VAE's encoder
    SAMPLE = "sample"  # the only stage, or one whose place is not known
    SAMPLE_HIGH = "sample_high"  # the high-noise expert
    SAMPLE_LOW = "sample_low"  # the low-noise expert
    VAE = "vae"  # latents to pictures
    FRAMES = "frames"  # interpolation, upscaling
    SAVE = "save"  # encoding and writing the file
    OTHER = "other"
    DONE = "done"


# Rough shares of a WAN render on a warm card, in sampler steps. Only the bar's smoothness hangs on them.
_WEIGHT = {
    Phase.LOAD: 0.5,
    Phase.TEXT: 0.3,
    Phase.IMAGE: 0.5,
    Phase.VAE: 1.5,
    Phase.FRAMES: 1.0,
    Phase.SAVE: 0.5,
}
_WEIGHT_OTHER = 0.02


def phase_of(graph: Mapping[str, Any], node_id: str) -> Phase:
    """Name a node's phase by its class, and for a sampler by its place in the two-expert scheme."""
    class_type = class_of(graph, node_id) or ""
    work = work_of(class_type)
    return _sampler_phase(graph, node_id) if work is Work.SAMPLE else Phase(work)


def weight_of(phase: Phase, steps: int | None) -> float:
    """Weigh a node in sampler steps; ``steps`` are its own, for a sampler."""
    if phase in (Phase.SAMPLE, Phase.SAMPLE_HIGH, Phase.SAMPLE_LOW):
        return float(steps or 10)
    return _WEIGHT.get(phase, _WEIGHT_OTHER)


def _sampler_phase(graph: Mapping[str, Any], node_id: str) -> Phase:
    """Tell the experts apart: KSamplerAdvanced by leftover noise, WanVideoSampler by its first step."""
    if literal(graph, node_id, "return_with_leftover_noise") == "enable":
        return Phase.SAMPLE_HIGH
    if literal(graph, node_id, "add_noise") == "disable":
        return Phase.SAMPLE_LOW
    start, end = literal(graph, node_id, "start_step"), literal(graph, node_id, "end_step")
    if isinstance(start, int) and start > 0:
        return Phase.SAMPLE_LOW
    if isinstance(end, int) and end > 0:
        return Phase.SAMPLE_HIGH
    return Phase.SAMPLE
