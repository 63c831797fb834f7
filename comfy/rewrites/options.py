"""What a job wants of the rewrites, beside the kinds of change that it accepts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_LEAST: Final = {
    "max_width": 16,
    "max_height": 16,
    "max_frames": 1,
    "max_fps": 1.0,
    "max_seconds": 0.1,
    "interpolation": 1,
}


class Attention(StrEnum):
    """Which attention back-end a graph's nodes are set to."""

    SDPA = "sdpa"  # PyTorch's own, where the graph forces SageAttention
    KEEP = "keep"  # as the graph says
    AUTO = "auto"  # the fastest that the host has proven to be correct


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteOptions:
    """What one job asks for. All limits change the picture; None: as the graph says."""

    attention: Attention = Attention.SDPA
    lightning: bool = False  # the few-step LoRAs, with the settings they want
    keep_metadata: bool = False  # the graph, with its prompt, inside the files
    keep_offloading: bool = False  # devices, block swap and offload of models as the graph says
    mp4: bool = False  # a clip saved as animated WEBP becomes H.264 in MP4
    max_width: int | None = None  # pixels
    max_height: int | None = None  # pixels
    max_frames: int | None = None  # generated, before interpolation
    max_fps: float | None = None
    max_seconds: float | None = None  # of the clip
    interpolation: int | None = None  # largest factor; 1: none

    @property
    def of_another_picture(self) -> tuple[str, ...]:
        """The options that were given and take effect only where a different picture is accepted."""
        return tuple(name for name in ("lightning", *_LEAST) if getattr(self, name) not in (None, False))

    def __post_init__(self) -> None:
        """Refuse a limit under which nothing could be made.

        Raises:
            ValueError: names the limit.
        """
        for name, least in _LEAST.items():
            value = getattr(self, name)
            # Written so that NaN fails too.
            if value is not None and not value >= least:
                raise ValueError(f"{name} is {value}, the least is {least}")


DEFAULT_OPTIONS: Final = RewriteOptions()
