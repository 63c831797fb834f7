"""NVIDIA's cards of 8 GiB and more since Turing (and V100), one row a card and memory size.

All of it is looked up, nothing measured. Source: VRAM as drivers report it (``nvidia-smi``, in MiB; with ECC
where it is on by default), the nominal size where no published output was at hand; compute capability:
https://developer.nvidia.com/cuda-gpus ; NVENC: NVIDIA's support matrix,
https://developer.nvidia.com/video-encode-decode-support-matrix (the large compute chips GA100, GH100, GB100
have no encoder); peak rates, without sparsity and with sums in fp32: NVIDIA's data sheets and the white
papers of the TU102, GA102, Ada and Blackwell architectures; where those give fp32 alone, by the chip's ratio
(GeForce: Turing four times its fp32, later twice; workstation cards: Turing eight times, later four); of
laptops at their largest power, from the "AI TOPS" of NVIDIA's comparison pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCard:
    """One kind of card."""

    name: str  # without "NVIDIA", "GeForce", "Quadro"; with its memory where it comes with several
    vram_mib: int | None  # None: the name that was asked for leaves open which of its sizes is meant
    compute_capability: tuple[int, int]
    has_nvenc: bool = True
    peak_tflops: float | None = None  # dense 16-bit products added up in fp32
    also: tuple[str, ...] = ()  # other names of it, NVML's where that tells more than `name`


# Capability, then for each card: name, MiB, TFLOPS, other names.
_Row = tuple[str, int, float | None] | tuple[str, int, float | None, tuple[str, ...]]
_ROWS: Final[dict[tuple[int, int], tuple[_Row, ...]]] = {
    (7, 0): (
        ("V100 16GB", 16384, 112, ("Tesla V100-SXM2-16GB", "Tesla V100-PCIE-16GB")),
        ("V100 32GB", 32768, 112, ("Tesla V100-SXM2-32GB", "Tesla V100-SXM3-32GB", "Tesla V100-PCIE-32GB")),
    ),
    (7, 5): (
        ("RTX 2060 6GB", 6144, 25.8),
        ("RTX 2060 12GB", 12288, 28.7),
        ("RTX 2060 SUPER", 8192, 28.7),
        ("RTX 2070", 8192, 29.9),
        ("RTX 2070 Max-Q", 8192, 18.2, ("RTX 2070 with Max-Q Design",)),
        ("RTX 2070 SUPER", 8192, 36.3),
        ("RTX 2070 SUPER Max-Q", 8192, 23.7, ("RTX 2070 Super with Max-Q Design",)),
        ("RTX 2080", 8192, 40.3),
        ("RTX 2080 Max-Q", 8192, 25.8, ("RTX 2080 with Max-Q Design",)),
        ("RTX 2080 SUPER", 8192, 44.6),
        ("RTX 2080 SUPER Max-Q", 8192, 26.5, ("RTX 2080 Super with Max-Q Design",)),
        ("RTX 2080 Ti", 11264, 53.8),
        ("TITAN RTX", 24220, 130.5),
        ("T1000 8GB", 8192, 5.0),
        ("Quadro RTX 4000", 8192, 57),
        ("Quadro RTX 4000 Max-Q", 8192, 44, ("Quadro RTX 4000 with Max-Q Design",)),
        ("Quadro RTX 5000", 16384, 89.2),
        ("Quadro RTX 5000 Max-Q", 16384, 72, ("Quadro RTX 5000 with Max-Q Design",)),
        ("Quadro RTX 6000", 24576, 130.5),
        ("Quadro RTX 8000", 49152, 130.5),
        ("T4", 15360, 65, ("Tesla T4",)),
    ),
    (8, 0): (
        ("A30", 24576, 165),
        ("A100 40GB", 40960, 312, ("A100-SXM4-40GB", "A100-PCIE-40GB")),
        ("A100 80GB", 81920, 312, ("A100-SXM4-80GB", "A100 80GB PCIe")),
        ("A800 40GB", 40960, 312, ("A800 40GB Active", "A800-SXM4-40GB")),
        ("A800 80GB", 81920, 312, ("A800-SXM4-80GB", "A800 80GB PCIe")),
    ),
    (8, 6): (
        ("RTX 3050 6GB", 6144, 13.5),
        ("RTX 3050 8GB", 8192, 18.2),
        ("RTX 3060 8GB", 8192, 25.5),
        ("RTX 3060 12GB", 12288, 25.5),
        ("RTX 3060 Ti", 8192, 32.4),
        ("RTX 3070", 8192, 40.6),
        ("RTX 3070 Laptop", 8192, 31.9),
        ("RTX 3070 Ti", 8192, 43.5),
        ("RTX 3070 Ti Laptop", 8192, 33.2),
        ("RTX 3080 10GB", 10240, 59.5),
        ("RTX 3080 12GB", 12288, 61.3),
        ("RTX 3080 Laptop 8GB", 8192, 38),
        ("RTX 3080 Laptop 16GB", 16384, 38),
        ("RTX 3080 Ti", 12288, 68.2),
        ("RTX 3080 Ti Laptop", 16384, 47.2),
        ("RTX 3090", 24576, 71),
        ("RTX 3090 Ti", 24564, 80),
        ("RTX A1000", 8188, 26.8),
        ("RTX A2000 6GB", 6138, 31.9),
        ("RTX A2000 12GB", 12282, 31.9),
        ("RTX A2000 Laptop 8GB", 8192, 37.8, ("RTX A2000 8GB Laptop",)),
        ("RTX A3000 Laptop 6GB", 6144, 51.2),
        ("RTX A3000 Laptop 12GB", 12288, 56.4, ("RTX A3000 12GB Laptop",)),
        ("RTX A4000", 16376, 76.7),
        ("RTX A4000 Laptop", 8192, 71.2),
        ("RTX A4500", 20470, 94.6),
        ("RTX A4500 Laptop", 16384, 74),
        ("RTX A5000", 24564, 111.1),
        ("RTX A5000 Laptop", 16384, 86.8),
        ("RTX A5500", 24564, 136.4),
        ("RTX A5500 Laptop", 16384, 98.8),
        ("RTX A6000", 49140, 154.8),
        ("A2", 15356, 18),
        ("A10", 23028, 125),
        ("A10G", 23028, 70),
        ("A16", 15356, 18),
        ("A40", 46068, 149.7),
    ),
    (8, 9): (
        ("RTX 4060", 8188, 30.2),
        ("RTX 4060 Laptop", 8188, 29.1),
        ("RTX 4060 Ti 8GB", 8188, 44.1),
        ("RTX 4060 Ti 16GB", 16380, 44.1),
        ("RTX 4070", 12282, 58.3),
        ("RTX 4070 Laptop", 8188, 40.1),
        ("RTX 4070 SUPER", 12282, 71),
        ("RTX 4070 Ti", 12282, 80.2),
        ("RTX 4070 Ti SUPER", 16376, 88.2),
        ("RTX 4080", 16376, 97.5),
        ("RTX 4080 Laptop", 12282, 67.8),
        ("RTX 4080 SUPER", 16376, 104.4),
        ("RTX 4090", 24564, 165.2),
        ("RTX 4090 D", 24564, 147),
        ("RTX 4090 Laptop", 16376, 85.8),
        ("RTX 2000 Ada", 16380, 48),
        ("RTX 2000 Ada Laptop", 8188, 58),
        ("RTX 3000 Ada Laptop", 8188, 79.6),
        ("RTX 3500 Ada Laptop", 12282, 92.2),
        ("RTX 4000 Ada", 20475, 106.8),
        ("RTX 4000 SFF Ada", 20475, 76.7),
        ("RTX 4000 Ada Laptop", 12282, 134),
        ("RTX 4500 Ada", 24570, 158.5),
        ("RTX 5000 Ada", 32760, 261.1),
        ("RTX 5000 Ada Laptop", 16376, 170.5),
        ("RTX 5880 Ada", 49140, 277),
        ("RTX 6000 Ada", 49140, 364.2),
        ("L2", 24570, 96.5),
        ("L4", 23034, 121),
        ("L20", 46068, 119.5),
        ("L40", 46068, 181),
        ("L40S", 46068, 362),
    ),
    (9, 0): (
        ("H20", 97871, 148),
        ("H100", 81559, 989, ("H100 80GB HBM3", "H100 SXM", "H100 SXM5", "H100 80GB")),
        ("H100 PCIe", 81559, 756, ("H100 80GB PCIe",)),
        ("H100 NVL", 95830, 835),
        ("H800", 81559, 989, ("H800 80GB HBM3",)),
        ("H800 PCIe", 81559, 756),
        ("H200", 143771, 989, ("H200 141GB HBM3e", "H200 SXM")),
        ("H200 NVL", 143771, 835),
        ("GH200", 97871, 989, ("GH200 480GB", "GH200 96GB")),
        ("GH200 144GB", 147456, 989, ("GH200 144GB HBM3e", "GH200 144G HBM3e")),
    ),
    (10, 0): (
        ("B200", 183359, 2250),
        ("GB200", 189471, 2500),
    ),
    (10, 3): (
        ("B300", 275040, 2250, ("B300 SXM6 AC",)),
        ("GB300", 284208, 2500),
    ),
    (12, 0): (
        ("RTX 5050", 8151, 26.3),
        ("RTX 5050 Laptop", 8151, 27.5),
        ("RTX 5060", 8151, 38.4),
        ("RTX 5060 Laptop", 8151, 35.8),
        ("RTX 5060 Ti 8GB", 8151, 47.4),
        ("RTX 5060 Ti 16GB", 16311, 47.4),
        ("RTX 5070", 12227, 61.7),
        ("RTX 5070 Laptop", 8151, 49.9),
        ("RTX 5070 Ti", 16303, 87.9),
        ("RTX 5070 Ti Laptop", 12227, 62),
        ("RTX 5080", 16303, 112.6),
        ("RTX 5080 Laptop", 16303, 83.4),
        ("RTX 5090", 32607, 209.5),
        ("RTX 5090 D", 32607, 209.5),
        ("RTX 5090 D v2", 24463, 209.5),
        ("RTX 5090 Laptop", 24463, 114),
        ("RTX PRO 500 Blackwell Laptop", 6141, 55),
        ("RTX PRO 1000 Blackwell Laptop", 8151, 71.5),
        ("RTX PRO 2000 Blackwell", 16311, 68.1),
        ("RTX PRO 2000 Blackwell Laptop", 8151, 99.8),
        ("RTX PRO 3000 Blackwell Laptop", 12227, 124),
        ("RTX PRO 4000 Blackwell", 24467, 147.3),
        ("RTX PRO 4000 Blackwell SFF", 24467, 96.3),
        ("RTX PRO 4000 Blackwell Laptop", 16303, 166.8),
        ("RTX PRO 4500 Blackwell", 32623, 210.9),
        ("RTX PRO 5000 Blackwell 48GB", 48935, 267.8),
        ("RTX PRO 5000 Blackwell 72GB", 73415, 267.8),
        ("RTX PRO 5000 Blackwell Laptop", 24463, 228),
        (
            "RTX PRO 6000 Blackwell",
            97887,
            503.8,
            ("RTX PRO 6000 Blackwell Workstation", "RTX PRO 6000 Blackwell Server"),
        ),
        ("RTX PRO 6000 Blackwell Max-Q", 97887, 438.9, ("RTX PRO 6000 Blackwell Max-Q Workstation",)),
    ),
}
_NO_ENCODER: Final = frozenset({(8, 0), (9, 0), (10, 0), (10, 3)})


def _card(capability: tuple[int, int], row: _Row) -> KnownCard:
    name, vram_mib, peak = row[:3]
    return KnownCard(
        name=name,
        vram_mib=vram_mib,
        compute_capability=capability,
        has_nvenc=capability not in _NO_ENCODER,
        peak_tflops=peak,
        also=row[3] if len(row) == 4 else (),
    )


KNOWN_CARDS: Final = tuple(_card(capability, row) for capability, rows in _ROWS.items() for row in rows)
