"""Few-step ("distilled") LoRAs: which installed ones go with a model, and what they want of a sampler.

Source: https://huggingface.co/lightx2v/Wan2.2-Distill-Loras , https://huggingface.co/Kijai/WanVideo_comfy ,
the official templates (comfyui-workflow-templates).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from comfy.wan.models import Expert
from comfy.wan.names import expert_of_lora, task_of

STEPS: Final = 4
SPLIT: Final = 2  # the step with which the low-noise expert begins
CFG: Final = 1.0
SHIFT: Final = 5.0
STRENGTH: Final = 1.0

_FEW_STEP: Final = re.compile(r"lightning|lightx2v", re.IGNORECASE)
_OF_22: Final = re.compile(r"wan_?2[._]?2|a14b", re.IGNORECASE)
_OFFICIAL: Final = re.compile(r"(^|/)wan2\.2_[ti]2v_lightx2v_4steps_lora")


def find_pair(task: str, installed: Iterable[str]) -> tuple[str, str] | None:
    """The few-step LoRAs for the high- and the low-noise expert of WAN 2.2 A14B; None: no pair is there."""
    names = set(installed)
    for high in sorted(names, key=lambda name: (_OFFICIAL.search(name) is None, name)):
        fits = _FEW_STEP.search(high) and _OF_22.search(high) and task_of(high) == task
        if not fits or expert_of_lora(high) is not Expert.HIGH:
            continue
        low = high.replace("high", "low").replace("HIGH", "LOW").replace("High", "Low")
        if low in names and low != high:
            return high, low
    return None


def find_single(task: str, installed: Iterable[str]) -> str | None:
    """The few-step LoRA for WAN 2.1 14B; None: it is not there."""
    for name in sorted(installed):
        fits = _FEW_STEP.search(name) and "14b" in name.lower() and task_of(name) == task
        if fits and not _OF_22.search(name) and expert_of_lora(name) is None:
            return name
    return None
