"""When ComfyUI is started anew between two jobs, although it runs: before its leaks hurt a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from comfy.wan.models import GIB

log = logging.getLogger(__name__)

# What a process holds of a card without any model: its CUDA context, and the libraries' workspaces.
_CONTEXT_BYTES: Final = 1 * GIB
_FREED_WITHIN_S: Final = 5.0  # ComfyUI's queue thread looks once a second whether it is to free something
_ASK_AGAIN_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycleLimits:
    """How much is too much; 0 means no limit."""

    jobs: int = 0
    rss_bytes: int = 0  # growth of host memory since the first job
    vram_bytes: int = 0  # what stays on the card although all was to be freed


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What ComfyUI holds between two jobs; None: not known."""

    rss_bytes: int | None
    vram_bytes: int | None  # of the card, by ComfyUI alone


class Recycler:
    """Counts and compares; to be asked by one thread at a time, when no job is on the card."""

    def __init__(
        self,
        limits: RecycleLimits,
        *,
        usage: Callable[[], Usage],
        free: Callable[[], None],
        restart: Callable[[str], None],
        freed_within_s: float = _FREED_WITHIN_S,
    ) -> None:
        """Prepare.

        Args:
            usage: what ComfyUI holds now.
            free: asks ComfyUI to take all models off the card; it does so a moment later.
            restart: has it started anew, with a reason for people.
        """
        self._limits = limits
        self._usage = usage
        self._free = free
        self._restart = restart
        self._freed_within_s = freed_within_s
        self._generation = -1
        self._begin(-1)

    def after_job(self, generation: int) -> None:
        """Note the end of a job that start number `generation` ran; restart ComfyUI if that is due."""
        if generation != self._generation:
            self._begin(generation)
        self._jobs += 1
        reason = self._due()
        if reason is not None:
            log.info("ComfyUI is recycled", extra={"event": "comfy_recycled", "reason": reason})
            self._restart(reason)

    def _begin(self, generation: int) -> None:
        self._generation = generation
        self._jobs = 0
        self._first_rss: int | None = None
        self._vram_floor: int | None = None

    def _due(self) -> str | None:
        limits = self._limits
        if limits.jobs and self._jobs >= limits.jobs:
            return f"{self._jobs} jobs since its start"
        if not limits.rss_bytes and not limits.vram_bytes:
            return None
        now = self._usage()
        if now.rss_bytes is not None:
            # The first job brings models and libraries: growth counts from there.
            self._first_rss = now.rss_bytes if self._first_rss is None else self._first_rss
            grown = now.rss_bytes - self._first_rss
            if limits.rss_bytes and grown > limits.rss_bytes:
                return f"its host memory grew by {grown / GIB:.1f} GiB since its first job"
        return self._leak(now.vram_bytes) if limits.vram_bytes and now.vram_bytes is not None else None

    def _leak(self, vram_bytes: int) -> str | None:
        """Models that stay for the next job look like a leak: so ask for all to be freed, and look again."""
        floor = vram_bytes if self._vram_floor is None else min(self._vram_floor, vram_bytes)
        self._vram_floor = floor
        if vram_bytes <= floor + self._limits.vram_bytes:
            return None
        kept = self._after_freeing()
        if kept is not None and kept > self._limits.vram_bytes + _CONTEXT_BYTES:
            return f"it keeps {kept / GIB:.1f} GiB of VRAM after all models were to be freed"
        self._vram_floor = vram_bytes  # another job's models: that much is usual
        return None

    def _after_freeing(self) -> int | None:
        self._free()
        deadline = time.monotonic() + self._freed_within_s
        while True:
            kept = self._usage().vram_bytes
            enough = kept is None or kept <= self._limits.vram_bytes + _CONTEXT_BYTES
            if enough or time.monotonic() >= deadline:
                return kept
            time.sleep(_ASK_AGAIN_S)
