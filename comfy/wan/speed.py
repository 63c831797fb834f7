"""How fast cards compute WAN: rates derived from published times, each with its range and where it is from.

None of this was measured by the farm; what its own jobs took is in `comfy.wan.paces` and counts for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from comfy.wan.card_table import KnownCard
from comfy.wan.cards import kind_of, known_card
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
_BY_KIN: Final = "by the {kin}'s rate and the peaks of both: not measured on this card (±25 %)"
# The tables' times give ranges of a few per cent (H100 444 to 526, A100 185 to 200, H20 128 to 135, 4090 102
# to 111 TFLOPS); that ComfyUI is not the reference code makes it ±20 %.
_RATES: Final = {
    ("H100", Precision.WIDE): Rate(flops=480e12, least=0.8, most=1.2, source=_TABLE),
    ("A100", Precision.WIDE): Rate(flops=190e12, least=0.8, most=1.2, source=_TABLE),
    ("H20", Precision.WIDE): Rate(flops=130e12, least=0.8, most=1.2, source=_TABLE),
    ("RTX 4090", Precision.WIDE): Rate(flops=107e12, least=0.8, most=1.2, source=_TABLE),
    # 40 forwards and the rest took 513 s, 4 forwards and the rest 71 s: 12.3 s for the 1.87 PFLOP of one.
    ("RTX 4090 D", Precision.FP8): Rate(flops=150e12, least=0.8, most=1.2, source=_DOCS),
}
# The same chip: with more memory, or for another market.
_SAME: Final = {"H200": "H100", "H800": "H100", "GH200": "H100", "A800": "A100"}
_KIN: Final = {"RTX 4090": "RTX 4090 D", "RTX 4090 D": "RTX 4090"}  # one chip, less of it in use
_NO_FP8_UNITS_BELOW: Final = (8, 9)
# Of their peaks the four cards with published times reach 0.49 (H100), 0.61 (A100), 0.65 (4090), 0.88 (H20).
_PART_OF_PEAK: Final = 0.63
# Nothing says that another card does not lie outside: below, for cards whose power is held down.
_LEAST_OF_PEAK: Final = 0.28
_MOST_OF_PEAK: Final = 0.88
# With fp8 the 4090 D reaches 1.02 of its 16-bit peak, with 16 bits the 4090 0.65 of its own.
FP8_FASTER: Final = 1.57

# What is published of GGUF: nothing to four times as slow as fp8, since each use of a layer unpacks it.
# Source: ComfyUI-GGUF issue 313 (20 s against 5 s a step on a 5090), ComfyUI issue 14204 (84 against 31).
GGUF_SLOWER: Final = (1.0, 2.0, 4.0)  # at best, taken, at worst


def forward_flops(size: ClipSize, family: ModelFamily) -> float:
    """Floating-point operations of one forward pass over one clip."""
    tokens = size.tokens(stride=family.vae_stride)
    return 2 * family.parameters * tokens + 4 * family.layers * family.width * tokens**2


def has_fp8_units(card: KnownCard) -> bool:
    """Whether it computes in fp8; another turns fp8 weights into 16 bits at each use, as it does GGUF's."""
    return card.compute_capability >= _NO_FP8_UNITS_BELOW


def rate_of(gpu_name: str, precision: Precision) -> Rate | None:
    """A card's effective rate: published, or by its peak and said to be so; None when neither is known.

    Args:
        gpu_name: as NVML or a person names it.
    """
    card = known_card(gpu_name)
    if card is None:
        return None
    kind = kind_of(card)
    same = _SAME.get(kind, kind)
    fp8 = precision is Precision.FP8 and has_fp8_units(card)
    exact = _RATES.get((same, precision))
    if exact is not None:
        return exact
    # Where another kin's rate at this precision is known, it says more than this card's at another one.
    if fp8 and (by_kin := _by_kin(kind, card, precision)) is not None:
        return by_kin
    found = _RATES.get((same, Precision.WIDE)) or _by_kin(kind, card, Precision.WIDE)
    return found or _bound(card, faster=FP8_FASTER if fp8 else 1.0)


def _by_kin(kind: str, card: KnownCard, precision: Precision) -> Rate | None:
    kin = _KIN.get(kind, "")
    rate, other = _RATES.get((kin, precision)), known_card(kin)
    if rate is None or other is None or not card.peak_tflops or not other.peak_tflops:
        return None
    scale = card.peak_tflops / other.peak_tflops
    return Rate(flops=rate.flops * scale, least=0.75, most=1.25, source=_BY_KIN.format(kin=kin))


def _bound(card: KnownCard, *, faster: float) -> Rate | None:
    if card.peak_tflops is None:
        return None
    return Rate(
        flops=card.peak_tflops * 1e12 * _PART_OF_PEAK * faster,
        least=_LEAST_OF_PEAK / _PART_OF_PEAK,
        most=_MOST_OF_PEAK / _PART_OF_PEAK,
        source=f"a bound, no time is published for this card: {_PART_OF_PEAK:.0%} of its peak of "
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
