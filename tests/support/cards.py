"""A graphics card as NVML would tell of it."""

from __future__ import annotations

from typing import Final

from worker.gpu.card import GIB, GpuCard

CARD: Final = GpuCard(
    uuid="GPU-1",
    index=0,
    name="NVIDIA GeForce RTX 4090",
    total_bytes=24 * GIB,
    free_bytes=24 * GIB,
    used_bytes=0,
    compute_capability=(8, 9),
    driver="580",
)
