"""All lint rules."""

from __future__ import annotations

from typing import Final

from comfy.lint import experts, loras, outputs, sampling, site, sizes
from comfy.lint.rule import Rule

RULES: Final[tuple[Rule, ...]] = (
    *experts.RULES,
    *loras.RULES,
    *sampling.RULES,
    *sizes.RULES,
    *outputs.RULES,
    *site.RULES,
)
