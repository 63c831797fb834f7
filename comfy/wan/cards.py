"""Cards by name: what NVML will say of them, for a plan without the card, and whether they encode video.

Source: VRAM as drivers report it (``nvidia-smi``, in MiB; with ECC where it is on by default), held against
published outputs of it; compute capability: https://developer.nvidia.com/cuda-gpus ; NVENC: NVIDIA's support
matrix, https://developer.nvidia.com/video-encode-decode-support-matrix (the large compute chips GA100, GH100,
GB100 have no encoder); peak rates: NVIDIA's data sheets, and the white papers of the GA102, Ada and Blackwell
GPU architectures, without sparsity (H100 and its kin: the SXM form).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from comfy.wan.memory import VRAM_CLASSES_GIB
from comfy.wan.models import GIB

IDLE_BYTES: Final = 300 * 2**20  # what the driver holds of a card that does nothing
# ECC takes a sixteenth of GDDR6: an "24 GB" L4 reports 23,034 MiB, a "48 GB" A40 46,068 MiB.
_LEAST_PART_OF_CLASS: Final = 0.93


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCard:
    """One kind of card."""

    name: str  # a part of what NVML calls it
    vram_mib: int
    compute_capability: tuple[int, int]
    has_nvenc: bool = True
    peak_tflops: float | None = None  # dense bf16 products added up in fp32, by the data sheet


def _card(
    name: str,
    vram_mib: int,
    capability: tuple[int, int],
    peak_tflops: float | None = None,
    *,
    has_nvenc: bool = True,
) -> KnownCard:
    return KnownCard(
        name=name,
        vram_mib=vram_mib,
        compute_capability=capability,
        has_nvenc=has_nvenc,
        peak_tflops=peak_tflops,
    )


KNOWN_CARDS: Final = (
    _card("RTX 2080 Ti", 11264, (7, 5)),
    _card("RTX 3060", 12288, (8, 6)),
    _card("RTX 3080", 10240, (8, 6), 59.5),
    _card("RTX 3090", 24576, (8, 6), 71),
    _card("RTX 4060", 8188, (8, 9)),
    _card("RTX 4060 Ti", 16380, (8, 9)),
    _card("RTX 4070", 12282, (8, 9)),
    _card("RTX 4070 Ti SUPER", 16376, (8, 9)),
    _card("RTX 4080", 16376, (8, 9), 97.5),
    _card("RTX 4090", 24564, (8, 9), 165.2),
    _card("RTX 5060 Ti", 16311, (12, 0)),
    _card("RTX 5070", 12227, (12, 0), 61.7),
    _card("RTX 5070 Ti", 16303, (12, 0), 87.9),
    _card("RTX 5080", 16303, (12, 0), 112.6),
    _card("RTX 5090", 32607, (12, 0), 209.5),
    _card("RTX A4000", 16376, (8, 6)),
    _card("RTX A5000", 24564, (8, 6)),
    _card("RTX A6000", 49140, (8, 6), 154.8),
    _card("RTX 4000 Ada", 20475, (8, 9)),
    _card("RTX 6000 Ada", 49140, (8, 9), 364.2),
    _card("RTX PRO 6000 Blackwell", 97887, (12, 0)),
    _card("Tesla T4", 15360, (7, 5)),
    _card("V100 16GB", 16384, (7, 0)),
    _card("V100 32GB", 32768, (7, 0)),
    _card("A10", 23028, (8, 6), 125),
    _card("A40", 46068, (8, 6), 149.7),
    _card("L4", 23034, (8, 9), 121),
    _card("L40", 46068, (8, 9), 181),
    _card("L40S", 46068, (8, 9), 362),
    _card("A100 40GB", 40960, (8, 0), 312, has_nvenc=False),
    _card("A100 80GB", 81920, (8, 0), 312, has_nvenc=False),
    _card("H20", 97871, (9, 0), 148, has_nvenc=False),
    _card("H100", 81559, (9, 0), 989, has_nvenc=False),
    _card("H200", 143771, (9, 0), 989, has_nvenc=False),
    _card("GH200", 97871, (9, 0), 989, has_nvenc=False),
    _card("B200", 183359, (10, 0), has_nvenc=False),
)


def vram_class_gib(total_bytes: int) -> int | None:
    """The largest VRAM class that so much memory stands for; None when it is less than all of them."""
    fitting = [gib for gib in VRAM_CLASSES_GIB if total_bytes >= gib * GIB * _LEAST_PART_OF_CLASS]
    return max(fitting, default=None)


def known_card(name: str) -> KnownCard | None:
    """The kind of card that goes by a name: NVML's ("NVIDIA A100-SXM4-80GB") or a person's ("4090")."""
    asked = set(_words(name))
    # All words of ours among theirs, the longest first: "RTX 4070" is in "RTX 4070 Ti SUPER" too.
    inside = [card for card in KNOWN_CARDS if set(_words(card.name)) <= asked]
    if inside:
        return max(inside, key=lambda card: len(_words(card.name)))
    around = [card for card in KNOWN_CARDS if asked and asked <= set(_words(card.name))]
    return min(around, key=lambda card: len(_words(card.name)), default=None)


def _words(name: str) -> list[str]:
    """Lower-case words; "80GB" and "80 GB" are the same."""
    text = re.sub(r"(\d)\s*gb\b", r"\1gb", name.lower())
    return re.findall(r"[a-z0-9]+", text)
