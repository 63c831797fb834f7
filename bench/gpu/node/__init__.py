"""A ComfyUI node for the benchmark: a conditioning of the right shape, without a text encoder's files."""

from __future__ import annotations

import importlib
from typing import Any


class FarmBenchConditioning:
    """Random text features: 512 tokens of umt5-xxl's width."""

    CATEGORY = "bench"
    FUNCTION = "make"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """The inputs, as ComfyUI asks for them."""
        return {"required": {"seed": ("INT", {"default": 0})}}

    def make(self, seed: int) -> tuple[list[Any]]:
        """One conditioning."""
        torch = importlib.import_module("torch")  # ComfyUI's: this repository's environment has none
        features = torch.randn((1, 512, 4096), generator=torch.Generator().manual_seed(seed))
        return ([[features, {}]],)


NODE_CLASS_MAPPINGS = {"FarmBenchConditioning": FarmBenchConditioning}
