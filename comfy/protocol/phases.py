"""Which phase of the work a node is, and how much of the whole it weighs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from comfy.graphs.links import class_of
from comfy.graphs.required import is_output_class
from comfy.graphs.values import literal


class Phase(StrEnum):
    """What a run is busy with."""

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


# Judged in this order, by the class name. Wrapper nodes and MultiGPU forms carry the same words.
_PATTERNS = (
    (Phase.SAMPLE, re.compile(r"(KSampler(?!Select)|SamplerCustom|VideoSampler)")),
    (Phase.LOAD, re.compile(r"(Loader|^Load[A-Z]|LoraSelect)")),
    (Phase.VAE, re.compile(r"(VAEDecode|VideoDecode)")),
    (Phase.TEXT, re.compile(r"TextEncode")),
    (
        Phase.IMAGE,
        re.compile(r"(VAEEncode|VisionEncode|ImageTo|AudioEncode|VideoEncode|FrameToVideo|ToVideo)"),
    ),
    (Phase.FRAMES, re.compile(r"(VFI|Interpolat|Upscale)")),
    (Phase.SAVE, re.compile(r"(CreateVideo|VideoCombine)")),
)

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
    for phase, pattern in _PATTERNS:
        if pattern.search(class_type):
            return _sampler_phase(graph, node_id) if phase is Phase.SAMPLE else phase
    return Phase.SAVE if is_output_class(class_type) else Phase.OTHER


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
