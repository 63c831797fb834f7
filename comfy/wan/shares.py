"""Samplers that run more than one model: which of their steps each model does, and with which guidance.

Source: https://github.com/stduhpf/ComfyUI-WanMoeKSampler (nodes.py);
https://github.com/VraethrDalkr/ComfyUI-TripleKSampler (triple_ksampler/nodes.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from comfy.wan.models import Expert
from comfy.wan.reader import Reader

_BOUNDARIES: Final[Mapping[object, float]] = {"T2V boundary": 0.875, "I2V boundary": 0.9}
_TRIPLE: Final = re.compile(r"TripleKSampler|TripleWVSampler")
_TRIPLE_MODELS: Final = ("base_high", "lightning_high", "lightning_low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one of a sampler's models does."""

    expert: Expert | None
    steps: int | None  # None: not known
    cfg_input: str | None  # None: the sampler's own


def models_of(reader: Reader, node_id: str, linked: tuple[str, ...]) -> tuple[str, ...]:
    """The inputs for a sampler's models, in the order in which they run."""
    if _TRIPLE.search(reader.class_type(node_id)):
        return tuple(name for name in _TRIPLE_MODELS if name in reader.inputs(node_id))
    return tuple(sorted(linked, key=lambda name: _expert(name) is Expert.LOW))


def share_of(reader: Reader, node_id: str, model: str) -> Share:
    """What the model behind an input of a sampler with several does."""
    if _TRIPLE.search(reader.class_type(node_id)):
        return _of_three(reader, node_id, model)
    word = model.removeprefix("model_")
    cfg = next((name for name in (f"cfg_{word}", f"{word}_cfg") if name in reader.inputs(node_id)), None)
    return Share(expert=_expert(model), steps=_of_two(reader, node_id, model), cfg_input=cfg)


def steps_above(boundary: float, *, shift: float, steps: int) -> int:
    """How many steps begin with more noise than the boundary, with ComfyUI's "simple" row of noise levels."""
    levels = (1 - number / steps for number in range(steps))
    return sum(shift * level / (1 + (shift - 1) * level) >= boundary for level in levels)


def _of_two(reader: Reader, node_id: str, model: str) -> int | None:
    steps = _number(reader, node_id, "steps")
    if steps is None:
        return None
    first = int(_number(reader, node_id, "start_at_step", "start_step") or 0)
    end = _number(reader, node_id, "end_at_step", "end_step")
    last = int(min(steps, end)) if end is not None and end >= 0 else int(steps)
    boundary = _number(reader, node_id, "boundary")
    shift = _number(reader, node_id, "sigma_shift", "shift")
    cut = int(steps) // 2
    if boundary is not None and shift is not None:
        cut = steps_above(boundary, shift=shift, steps=int(steps))
    cut = min(max(cut, first), last)
    return last - cut if _expert(model) is Expert.LOW else cut - first


def _of_three(reader: Reader, node_id: str, model: str) -> Share:
    start, steps = _number(reader, node_id, "lightning_start"), _number(reader, node_id, "lightning_steps")
    if model == "base_high":
        own = _number(reader, node_id, "base_steps")
        known = int(own) if own is not None and own >= 0 else None
        return Share(expert=Expert.HIGH, steps=0 if start == 0 else known, cfg_input="base_cfg")
    low = model == "lightning_low"
    expert, cfg = Expert.LOW if low else Expert.HIGH, "lightning_cfg"
    if steps is None or start is None:
        return Share(expert=expert, steps=None, cfg_input=cfg)
    strategy = reader.value(node_id, "switch_strategy")
    boundary = _BOUNDARIES.get(strategy)
    if strategy == "Manual boundary":
        boundary = _number(reader, node_id, "switch_boundary")
    shift, step = _number(reader, node_id, "sigma_shift"), _number(reader, node_id, "switch_step")
    cut = -(-int(steps) // 2)
    if strategy == "Manual switch step" and step is not None and step >= 0:
        cut = int(step)
    elif boundary is not None and shift is not None:
        cut = steps_above(boundary, shift=shift, steps=int(steps))
    return Share(expert=expert, steps=int(steps) - cut if low else max(cut - int(start), 0), cfg_input=cfg)


def _expert(name: str) -> Expert | None:
    found = set(re.findall(r"high|low", name))
    return Expert(found.pop()) if len(found) == 1 else None


def _number(reader: Reader, node_id: str, *names: str) -> float | None:
    for name in names:
        value = reader.value(node_id, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None
