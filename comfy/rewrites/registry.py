"""All rewrites, in the order in which they are applied."""

from __future__ import annotations

from typing import Final

from comfy.rewrites.attention import ATTENTION
from comfy.rewrites.gguf import GGUF
from comfy.rewrites.interpolation import INTERPOLATION
from comfy.rewrites.later_inputs import LATER_INPUTS
from comfy.rewrites.lightning import LIGHTNING
from comfy.rewrites.limits import LENGTH, SIZE
from comfy.rewrites.metadata import METADATA
from comfy.rewrites.offload import BLOCK_SWAP, ENCODER, FORCE_OFFLOAD, LOAD
from comfy.rewrites.previews import DOUBLES, PREVIEWS
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.separators import SEPARATORS
from comfy.rewrites.tiled_decode import TILED_DECODE
from comfy.rewrites.unloads import UNLOADS
from comfy.rewrites.video_format import MP4, NVENC

# What would be refused is mended first, for all others look at nodes that are whole. Then comes what changes
# the clip, because what fits on a card depends on the clip. Outputs come last: a format that is changed
# decides which inputs its node has.
REWRITES: Final[tuple[Rewrite, ...]] = (
    SEPARATORS,
    LATER_INPUTS,
    LIGHTNING,
    SIZE,
    INTERPOLATION,
    LENGTH,
    PREVIEWS,
    DOUBLES,
    UNLOADS,
    ATTENTION,
    ENCODER,
    LOAD,
    BLOCK_SWAP,
    FORCE_OFFLOAD,
    TILED_DECODE,
    NVENC,
    MP4,
    METADATA,
    GGUF,
)
