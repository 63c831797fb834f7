"""Clip sizes: which ones WAN takes, and how many tokens they are.

Source: ComfyUI comfy_extras/nodes_wan.py, nodes_hunyuan.py; comfy/model_base.py (memory estimate).
"""

from __future__ import annotations

from dataclasses import dataclass

SIZE_STEP = 16  # pixels: the VAE's stride of 8 times the patch of 2
MIN_SIDE, MAX_SIDE = 64, 2048  # trained at 832×480 and 1280×720; ComfyUI itself would take 16,384
FRAME_STEP = 4  # frames for each latent frame, after the first
MIN_FRAMES, MAX_FRAMES = 1, 481  # trained at 81; 481 are 30 s at 16 fps


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSize:
    """What is sampled at once: pixels and frames, before any upscaling or interpolation."""

    width: int  # pixels
    height: int  # pixels
    frames: int
    batch: int = 1

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


def side_fault(value: int, *, step: int = SIZE_STEP) -> str | None:
    """Say what is wrong with a width or height in pixels; None when WAN takes it."""
    return _grid_fault(value, step=step, offset=0, low=MIN_SIDE, high=MAX_SIDE, rule=f"a multiple of {step}")


def frames_fault(value: int) -> str | None:
    """Say what is wrong with a number of frames; None when WAN takes it."""
    rule = f"{FRAME_STEP}n+1"
    return _grid_fault(value, step=FRAME_STEP, offset=1, low=MIN_FRAMES, high=MAX_FRAMES, rule=rule)


def nearest_valid(value: int, *, step: int, offset: int, low: int, high: int) -> tuple[int, ...]:
    """Give the nearest value below and above that lies on the grid and within the bounds; one at a bound."""
    below = (value - offset) // step * step + offset
    candidates = {min(max(candidate, low), high) for candidate in (below, below + step)}
    return tuple(sorted(candidates))


def _grid_fault(value: int, *, step: int, offset: int, low: int, high: int, rule: str) -> str | None:
    if low <= value <= high and (value - offset) % step == 0:
        return None
    near = " or ".join(
        str(near) for near in nearest_valid(value, step=step, offset=offset, low=low, high=high)
    )
    return f"{value} is not {rule} from {low} to {high}; the nearest that WAN takes: {near}"
