"""All rules of the doctor."""

from __future__ import annotations

from typing import Final

from comfy.doctor import (
    around,
    attempts,
    attention,
    card_rules,
    clips,
    gguf,
    loading,
    refusals,
    sampling,
    streaming,
)
from comfy.doctor.rule import Rule

# Of models, of memory and of what computes: true of no emulator, whatever its log says of a card.
OF_THE_CARD: Final[tuple[Rule, ...]] = (
    *streaming.RULES,
    *loading.RULES,
    *gguf.RULES,
    *attention.RULES,
    *sampling.RULES,
    *card_rules.RULES,
)
OF_THE_JOB: Final[tuple[Rule, ...]] = (*attempts.RULES, *around.RULES, *refusals.RULES, *clips.RULES)
RULES: Final = (*OF_THE_CARD, *OF_THE_JOB)
