"""All rules of the doctor."""

from __future__ import annotations

from typing import Final

from comfy.doctor import around, attention, clips, loading, sampling
from comfy.doctor.rule import Rule

RULES: Final[tuple[Rule, ...]] = (
    *loading.RULES,
    *attention.RULES,
    *sampling.RULES,
    *around.RULES,
    *clips.RULES,
)
