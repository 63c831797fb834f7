"""How much VRAM a graph needs: pure formulas, and the smallest class of card that they allow.

Upper bounds: ComfyUI's maintainers call their own activation estimate conservative (pull request 12557).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from comfy.wan.model_table import Kind
from comfy.wan.models import GIB, WAN_14B, ModelFamily
from comfy.wan.names import set_of
from comfy.wan.sizes import ClipSize

VRAM_CLASSES_GIB = (8, 12, 16, 24, 32, 48, 80, 141)

RESERVE_BYTES = 400 * 2**20  # ComfyUI's EXTRA_RESERVED_VRAM on Linux
MIN_INFERENCE_BYTES = int(0.8 * GIB)
# A "24 GB" card reports 23.5 to 23.99 GiB, and the CUDA context takes its share. One with ECC reports less
# (L4: 22.49 GiB); what it lacks, 70 MiB, is within what the activation formula overestimates.
_USABLE_PART = 0.94
_TILED_DECODE_BYTES = int(1.5 * GIB)
_WIDE_BYTES = 2  # of a number in which sampling and VAE compute
_STREAMS = 2  # copy streams of weight offloading, the default since ComfyUI 0.3.75
UNKNOWN_SIZE = ClipSize(width=1280, height=720, frames=81)  # the largest that the 14B models were trained at


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """VRAM that a graph needs, in bytes."""

    resident_bytes: int  # the weights of the largest single diffusion model: experts run one after another
    activation_bytes: int  # while sampling, one clip at a time
    vae_decode_bytes: int  # not tiled; ComfyUI decodes in tiles by itself when this fails
    full_bytes: int  # everything on the card: no streaming, no tiling
    stream_bytes: int  # the least that works: weights streamed from RAM, the VAE in tiles
    certain: bool  # False: a size was not found in the graph, and the largest usual one was taken

    @property
    def smallest_class_gib(self) -> int:
        """The smallest card that can run it at all; 141 also when none is large enough."""
        return _class_for(self.stream_bytes)

    @property
    def comfortable_class_gib(self) -> int:
        """The smallest card that holds everything of a stage at once; 141 also when none is large enough."""
        return _class_for(self.full_bytes)


def activation_bytes(size: ClipSize, family: ModelFamily) -> int:
    """Memory of one forward pass besides the weights.

    Source: ComfyUI comfy/model_base.py, ``BaseModel.memory_required`` with flash-capable attention.
    """
    return int(size.area(stride=family.vae_stride) * _WIDE_BYTES * 0.01 * family.memory_factor * 2**20)


def vae_decode_bytes(size: ClipSize, family: ModelFamily = WAN_14B) -> int:
    """Peak of decoding the clip without tiles: decoding is causal, so only the picture's size counts.

    Source: ComfyUI comfy/sd.py, ``VAE.__init__``, the ``memory_used_decode`` of WAN's VAEs.
    """
    area = (size.height // family.vae_stride) * (size.width // family.vae_stride)
    if family.vae_stride == 16:
        return 8000 * area * 256 * _WIDE_BYTES
    return (7000 if size.latent_frames > 4 else 2200) * area * 64 * _WIDE_BYTES


def vae_encode_bytes(size: ClipSize, family: ModelFamily = WAN_14B) -> int:
    """Peak of encoding a start image or a clip of this size, without tiles.

    Source: ComfyUI comfy/sd.py, ``VAE.__init__``, the ``memory_used_encode`` of WAN's VAEs.
    """
    area = size.height * size.width
    if family.vae_stride == 16:
        return 3300 * area * _WIDE_BYTES
    return (6000 if size.latent_frames > 4 else 1500) * area * _WIDE_BYTES


def activation_factor(names: Iterable[str]) -> float:
    """What the files of a graph make of the activations."""
    rows = (set_of(name, kind) for name in names for kind in (Kind.MODEL, Kind.ADDED))
    return max((row.activations for row in rows if row is not None), default=1.0)


def need(
    *,
    weights_bytes: int,
    size: ClipSize,
    family: ModelFamily,
    half_width_weights: bool = True,
    certain: bool,
    factor: float = 1.0,
) -> MemoryNeed:
    """Work out what sampling and decoding one clip takes on the card.

    Args:
        half_width_weights: the weights are 8 bits wide or less; 16-bit layers are twice as large to stream.
        factor: on the activations, of a model that was made of WAN, or is put on it.
    """
    activations = int(factor * activation_bytes(size, family))
    decode = vae_decode_bytes(size, family)
    layer = family.largest_layer_bytes * (1 if half_width_weights else 2)
    full_sampling = int(1.1 * weights_bytes) + activations + RESERVE_BYTES + int(0.3 * GIB)
    streamed_sampling = layer * (_STREAMS + 1) + activations + RESERVE_BYTES + MIN_INFERENCE_BYTES
    full = max(full_sampling, decode + GIB // 4 + RESERVE_BYTES)
    # A small model needs less when it is simply there than when it is streamed.
    least = max(min(full_sampling, streamed_sampling), min(decode, _TILED_DECODE_BYTES) + RESERVE_BYTES)
    return MemoryNeed(
        resident_bytes=weights_bytes,
        activation_bytes=activations,
        vae_decode_bytes=decode,
        full_bytes=full,
        stream_bytes=min(least, full),
        certain=certain,
    )


def _class_for(wanted_bytes: int) -> int:
    for gib in VRAM_CLASSES_GIB:
        if wanted_bytes <= gib * GIB * _USABLE_PART:
            return gib
    return VRAM_CLASSES_GIB[-1]
