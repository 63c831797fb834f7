"""How a job's models lie on a card: ComfyUI's own arithmetic, as its loader does it before each stage.

Source: ComfyUI comfy/model_management.py, ``load_models_gpu``, ``minimum_inference_memory`` and
``maximum_vram_for_weights``. Under dynamic VRAM it is an estimate: pages come and go as they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from comfy.wan.memory import MIN_INFERENCE_BYTES, RESERVE_BYTES
from comfy.wan.models import GIB

_DECODE_MARGIN_BYTES: Final = GIB // 4
_LAYERS_ON_CARD: Final = 3  # two copy streams, and the one that computes


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """What the worker's jobs load, in bytes; file sizes, since weights take as much on the card."""

    experts: tuple[int, ...]  # diffusion models of one job: two for WAN 2.2 A14B
    others: int = 0  # text encoder, VAE, LoRAs and the like, together
    activations: int = 0  # while sampling the largest usual clip
    decode: int = 0  # the VAE's, of that clip, without tiles
    layer: int = 0  # the largest layer: what has to be on the card even when all is streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What becomes of the largest expert, and of all together, in so much free memory."""

    expert_bytes: int  # of the largest
    streamed_bytes: int  # the part of it that comes from host memory in each step
    least_bytes: int  # what sampling takes when all that can be is streamed
    runs: bool  # `least_bytes` are free
    decodes_whole: bool  # the VAE needs no tiles
    all_stay: bool  # both experts, and whatever else is needed beside them at one time


def fate(found: Fit, *, experts: int, streamed: bool = False) -> str:
    """What becomes of the models, in the words of ``docs/load-modes.md``: "whole, tiles", "streams 23%".

    Args:
        experts: how many diffusion models the job has.
        streamed: nothing is kept on the card, on purpose.
    """
    if not found.runs:
        return "too small"
    word = f"streams {found.streamed_bytes / found.expert_bytes:.0%}" if found.streamed_bytes else "whole"
    if found.all_stay and experts > 1:
        word = "both"
    if streamed:
        word = "streams 100 %"
    return word if found.decodes_whole else f"{word}, tiles"


def fit(free_bytes: int, models: ModelSizes, *, reserve_bytes: int = RESERVE_BYTES) -> Fit:
    """Work out how models lie in free VRAM, of which `reserve_bytes` are left alone."""
    expert = max(models.experts)
    working = models.activations + reserve_bytes
    budget = max(free_bytes - max(MIN_INFERENCE_BYTES + reserve_bytes, working), 0)
    streamed_least = models.layer * _LAYERS_ON_CARD + working + MIN_INFERENCE_BYTES
    # A small model needs less when it is simply there than when it is streamed.
    least = min(streamed_least, expert + working)
    decode = models.decode + _DECODE_MARGIN_BYTES
    beside = max(models.activations, decode, models.others)
    return Fit(
        expert_bytes=expert,
        streamed_bytes=max(expert - budget, 0),
        least_bytes=least,
        runs=least <= free_bytes,
        decodes_whole=decode + reserve_bytes <= free_bytes,
        all_stay=sum(models.experts) + beside + reserve_bytes + MIN_INFERENCE_BYTES <= free_bytes,
    )
