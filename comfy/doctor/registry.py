"""All rules of the doctor."""

from __future__ import annotations

from typing import Final

from comfy.doctor import around, attention, card_rules, clips, loading, sampling
from comfy.doctor.rule import Rule

RULES: Final[tuple[Rule, ...]] = (
    *loading.RULES,
    *attention.RULES,
    *sampling.RULES,
    *card_rules.RULES,
    *around.RULES,
    *clips.RULES,
)
