"""How long sampling should take: so that "slow" has a meaning.

Source: the tables of the Wan2.1 and Wan2.2 READMEs, from which the effective rates are derived (±20 %).
"""

from __future__ import annotations

from comfy.wan.models import ModelFamily
from comfy.wan.sizes import ClipSize

# Effective FLOP/s on WAN, not the data sheet's. GPU name as NVML gives it contains the key.
EFFECTIVE_FLOPS = {
    "H100": 480e12,
    "H200": 480e12,
    "A100": 190e12,
    "H20": 130e12,
    "RTX 4090": 107e12,
}


def forward_flops(size: ClipSize, family: ModelFamily) -> float:
    """Floating-point operations of one forward pass over one clip."""
    tokens = size.tokens(stride=family.vae_stride)
    return 2 * family.parameters * tokens + 4 * family.layers * family.width * tokens**2


def seconds_per_step(size: ClipSize, family: ModelFamily, *, effective_flops: float, cfg: float) -> float:
    """Expected seconds of one sampler step on a card of this effective rate; guidance doubles it."""
    passes = 1 if cfg == 1 else 2
    return passes * size.batch * forward_flops(size, family) / effective_flops


def effective_flops(gpu_name: str) -> float | None:
    """Look up a card's effective rate by its name; None when nobody has measured it."""
    # "H20" is part of "H200": the longest key that fits is the right one.
    fitting = [key for key in EFFECTIVE_FLOPS if key in gpu_name]
    return EFFECTIVE_FLOPS[max(fitting, key=len)] if fitting else None
