"""How fast cards compute WAN: rates derived from published times, each with its range and where it is from.

None of this was measured by the farm; what its own jobs took is in `comfy.wan.paces` and counts for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from comfy.wan.cards import known_card
from comfy.wan.models import ModelFamily
from comfy.wan.precision import Precision
from comfy.wan.sizes import ClipSize

GB: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds that something takes: most likely, between two bounds, and how that is known."""

    seconds: float
    low: float
    high: float
    source: str  # in words

    def times(self, factor: float) -> Estimate:
        """So many of it one after another."""
        return Estimate(
            seconds=self.seconds * factor, low=self.low * factor, high=self.high * factor, source=self.source
        )

    def plus(self, other: Estimate) -> Estimate:
        """Both, one after the other; bounds add up, since what is slow at one is mostly slow at both."""
        same = self.source if self.source == other.source else f"{self.source}; {other.source}"
        return Estimate(
            seconds=self.seconds + other.seconds,
            low=self.low + other.low,
            high=self.high + other.high,
            source=same,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Effective operations per second on WAN, not the data sheet's."""

    flops: float
    least: float  # parts of it between which the truth lies
    most: float
    source: str

    def seconds(self, flop: float) -> Estimate:
        """How long so many operations take."""
        return Estimate(
            seconds=flop / self.flops,
            low=flop / (self.flops * self.most),
            high=flop / (self.flops * self.least),
            source=self.source,
        )


_TABLE: Final = "derived from the time tables of the Wan2.1 and Wan2.2 READMEs (reference code, ±20 %)"
_DOCS: Final = "derived from ComfyUI's documented times on a 4090D (fp8_scaled, 640×640×81, ±20 %)"
# The tables' times give ranges of a few per cent (H100 444 to 526, A100 185 to 200, H20 128 to 135, 4090 102
# to 111 TFLOPS); that ComfyUI is not the reference code makes it ±20 %.
_RATES: Final = {
    ("H100", Precision.WIDE): Rate(flops=480e12, least=0.8, most=1.2, source=_TABLE),
    ("A100", Precision.WIDE): Rate(flops=190e12, least=0.8, most=1.2, source=_TABLE),
    ("H20", Precision.WIDE): Rate(flops=130e12, least=0.8, most=1.2, source=_TABLE),
    ("RTX 4090", Precision.WIDE): Rate(flops=107e12, least=0.8, most=1.2, source=_TABLE),
    # 40 forwards and the rest took 513 s, 4 forwards and the rest 71 s: 12.3 s for the 1.87 PFLOP of one.
    ("RTX 4090", Precision.FP8): Rate(flops=150e12, least=0.8, most=1.2, source=_DOCS),
}
_KIN: Final = {"H200": "H100", "GH200": "H100", "A100 40GB": "A100", "A100 80GB": "A100"}
_NO_FP8_UNITS_BELOW: Final = (8, 9)
# Of their peaks the four cards with published times reach 0.49 (H100), 0.61 (A100), 0.65 (4090), 0.88 (H20).
_PART_OF_PEAK: Final = 0.63
# Nothing says that another card does not lie outside: below, for cards whose power is held down.
_LEAST_OF_PEAK: Final = 0.28
_MOST_OF_PEAK: Final = 0.88

# What is published of GGUF: nothing to four times as slow as fp8, since each use of a layer unpacks it.
# Source: ComfyUI-GGUF issue 313 (20 s against 5 s a step on a 5090), ComfyUI issue 14204 (84 against 31).
GGUF_SLOWER: Final = (1.0, 2.0, 4.0)  # at best, taken, at worst


def forward_flops(size: ClipSize, family: ModelFamily) -> float:
    """Floating-point operations of one forward pass over one clip."""
    tokens = size.tokens(stride=family.vae_stride)
    return 2 * family.parameters * tokens + 4 * family.layers * family.width * tokens**2


def rate_of(gpu_name: str, precision: Precision) -> Rate | None:
    """A card's effective rate: published, or by its peak and said to be so; None when neither is known.

    Args:
        gpu_name: as NVML or a person names it.
    """
    card = known_card(gpu_name)
    if card is None:
        return None
    kin = _KIN.get(card.name, card.name)
    exact = _RATES.get((kin, precision)) or _RATES.get((kin, Precision.WIDE))
    if exact is not None:
        return exact
    if card.peak_tflops is None:
        return None
    # Cards that multiply 8-bit numbers gain as the 4090 does; the others only save memory.
    gains = precision is Precision.FP8 and card.compute_capability >= _NO_FP8_UNITS_BELOW
    faster = _RATES["RTX 4090", Precision.FP8].flops / _RATES["RTX 4090", Precision.WIDE].flops
    return Rate(
        flops=card.peak_tflops * 1e12 * _PART_OF_PEAK * (faster if gains else 1.0),
        least=_LEAST_OF_PEAK / _PART_OF_PEAK,
        most=_MOST_OF_PEAK / _PART_OF_PEAK,
        source=f"an estimate, no time is published for this card: {_PART_OF_PEAK:.0%} of its peak of "
        f"{card.peak_tflops:g} TFLOPS, between {_LEAST_OF_PEAK:.0%} and {_MOST_OF_PEAK:.0%}",
    )


def link_bytes_per_s(gpu_name: str) -> tuple[float, float, float]:
    """Bytes per second from pinned host memory: at worst, taken, at best.

    Source: PCIe 4 x16 20 to 24 GB/s, PCIe 5 about 45; PCIe 3 is taken as half of PCIe 4.
    """
    card = known_card(gpu_name)
    capability = card.compute_capability if card is not None else (8, 0)
    if capability >= (9, 0):
        return 40 * GB, 45 * GB, 50 * GB
    if capability >= (8, 0):
        return 20 * GB, 22 * GB, 24 * GB
    return 10 * GB, 11 * GB, 12 * GB
