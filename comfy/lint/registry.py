"""All lint rules."""

from __future__ import annotations

from typing import Final

from comfy.lint import experts, loras, machine, nodes, outputs, sampling, site, sizes
from comfy.lint.rule import Rule

RULES: Final[tuple[Rule, ...]] = (
    *experts.RULES,
    *loras.RULES,
    *sampling.RULES,
    *sizes.RULES,
    *outputs.RULES,
    *nodes.RULES,
    *machine.RULES,
    *site.RULES,
)
