"""The WAN models: their dimensions, and the two experts that some of them have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GIB = 2**30


class Expert(StrEnum):
    """Which of the two transformers of WAN 2.2 A14B works."""

    HIGH = "high"  # the first steps, much noise
    LOW = "low"  # the last steps
    SINGLE = "single"  # a model that does all steps alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """A transformer's dimensions: all that memory and time depend on."""

    name: str
    parameters: float
    layers: int
    width: int  # model dimension
    vae_stride: int  # pixels per latent position
    largest_layer_bytes: int  # model by feed-forward width, of the fp8 form; bf16 has twice that

    @property
    def memory_factor(self) -> float:
        """ComfyUI's ``memory_usage_factor``. Source: comfy/supported_models.py, class ``WAN21_T2V``."""
        return self.width / 2222


WAN_14B = ModelFamily(
    name="14B", parameters=14e9, layers=40, width=5120, vae_stride=8, largest_layer_bytes=68 * 2**20
)
WAN_5B = ModelFamily(
    name="5B", parameters=5e9, layers=30, width=3072, vae_stride=16, largest_layer_bytes=42 * 2**20
)
WAN_1_3B = ModelFamily(
    name="1.3B", parameters=1.4e9, layers=30, width=1536, vae_stride=8, largest_layer_bytes=14 * 2**20
)

FAMILIES = {family.name: family for family in (WAN_14B, WAN_5B, WAN_1_3B)}
