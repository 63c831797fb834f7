"""Clip sizes: which ones WAN takes, and how many tokens they are.

Source: ComfyUI comfy_extras/nodes_wan.py, nodes_hunyuan.py; comfy/model_base.py (memory estimate).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from comfy.node_defs.node_classes import base_class

SIZE_STEP = 16  # pixels: the VAE's stride of 8 times the patch of 2
MIN_SIDE, MAX_SIDE = 64, 2048  # trained at 832×480 and 1280×720; ComfyUI itself would take 16,384
FRAME_STEP = 4  # frames for each latent frame, after the first
_NAME = re.compile(r"(\d{1,5})x(\d{1,5})x(\d{1,5})(?:x(\d{1,4}))?")
MIN_FRAMES, MAX_FRAMES = 1, 481  # trained at 81; 481 are 30 s at 16 fps


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSize:
    """What is sampled at once: pixels and frames, before any upscaling or interpolation."""

    width: int  # pixels
    height: int  # pixels
    frames: int
    batch: int = 1

    @property
    def name(self) -> str:
        """``832x480x81``, with ``x2`` behind it for a batch of two; `read_size` reads it."""
        batch = f"x{self.batch}" if self.batch > 1 else ""
        return f"{self.width}x{self.height}x{self.frames}{batch}"

    @property
    def latent_frames(self) -> int:
        """Frames of the latent: the first stands alone, then one for every four."""
        return (self.frames - 1) // FRAME_STEP + 1

    def area(self, *, stride: int = 8) -> int:
        """Positions of the latent, over all frames; ``stride`` is the VAE's (8, or 16 for VAE 2.2)."""
        return self.batch * self.latent_frames * (self.height // stride) * (self.width // stride)

    def tokens(self, *, stride: int = 8) -> int:
        """Length of the sequence that the transformer attends over, for one clip of the batch."""
        return self.latent_frames * (self.height // stride // 2) * (self.width // stride // 2)


def read_size(name: str) -> ClipSize | None:
    """Back from `ClipSize.name`; None for what is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    width, height, frames, batch = found.groups()
    return ClipSize(width=int(width), height=int(height), frames=int(frames), batch=int(batch or 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The whole numbers that WAN takes for one measure: evenly spaced, within bounds."""

    step: int
    offset: int
    low: int
    high: int

    @property
    def rule(self) -> str:
        """In words: "a multiple of 16", "4n+1"."""
        return f"a multiple of {self.step}" if self.offset == 0 else f"{self.step}n+{self.offset}"

    def fault(self, value: int) -> str | None:
        """Say what is wrong with a value and name its neighbours; None when WAN takes it."""
        if self.low <= value <= self.high and (value - self.offset) % self.step == 0:
            return None
        near = " or ".join(map(str, self.neighbours(value)))
        return (
            f"{value} is not {self.rule} from {self.low} to {self.high}; the nearest that WAN takes: {near}"
        )

    def neighbours(self, value: int) -> tuple[int, ...]:
        """Give the nearest value below and above that WAN takes; one at a bound."""
        below = (value - self.offset) // self.step * self.step + self.offset
        candidates = {min(max(each, self.low), self.high) for each in (below, below + self.step)}
        return tuple(sorted(candidates))

    def snap(self, value: int) -> int:
        """Give the nearest value that WAN takes; the smaller one of two that are as near."""
        return (
            value if self.fault(value) is None else min(self.neighbours(value), key=lambda x: abs(x - value))
        )


SIDES = Grid(step=SIZE_STEP, offset=0, low=MIN_SIDE, high=MAX_SIDE)  # pixels
SIDES_5B = Grid(step=2 * SIZE_STEP, offset=0, low=MIN_SIDE, high=MAX_SIDE)  # its VAE has twice the stride
FRAMES = Grid(step=FRAME_STEP, offset=1, low=MIN_FRAMES, high=MAX_FRAMES)


def sides_of(class_type: str) -> Grid:
    """The widths and heights that a class takes for a clip."""
    return SIDES_5B if base_class(class_type) == "Wan22ImageToVideoLatent" else SIDES
