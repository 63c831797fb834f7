"""Model files of WAN's shape with random weights: as large and as slow as the real ones, and free.

Written without torch or safetensors, which this environment does not have. Shapes: ComfyUI
comfy/ldm/wan/model.py, ``WanModel``; comfy/model_detection.py reads the dimensions back from them.
"""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_PIECE: Final = 2**20  # bytes of noise that are written again and again
_TEXT_WIDTH: Final = 4096
_FREQUENCIES: Final = 256
_CHANNELS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A transformer's dimensions; `width` is a multiple of 128, the size of a head."""

    name: str
    width: int
    feed_forward: int
    layers: int


SHAPES: Final = {
    "14B": Shape(name="14B", width=5120, feed_forward=13824, layers=40),
    "1.3B": Shape(name="1.3B", width=1536, feed_forward=8960, layers=30),
    "tiny": Shape(name="tiny", width=256, feed_forward=512, layers=2),
}


def write_model(path: Path, shape: Shape, *, fp8: bool, seed: int) -> None:
    """Write a diffusion model as a safetensors file; one that is there already is kept."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = [(name, dims, fp8 and len(dims) == 2) for name, dims in _tensors(shape)]
    header, offset = {}, 0
    for name, dims, narrow in tensors:
        size = math.prod(dims) * (1 if narrow else 2)
        header[name] = {
            "dtype": "F8_E4M3" if narrow else "F16",
            "shape": dims,
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    noise = {True: _noise_fp8(seed), False: _noise_fp16(seed)}
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, dims, narrow in tensors:
            _fill(file, _content(name, dims, noise[narrow]), math.prod(dims) * (1 if narrow else 2))
    unfinished.rename(path)


def _tensors(shape: Shape) -> Iterator[tuple[str, list[int]]]:
    width, inner = shape.width, shape.feed_forward
    yield "patch_embedding.weight", [width, _CHANNELS, 1, 2, 2]
    yield "patch_embedding.bias", [width]
    yield from _linear("text_embedding.0", width, _TEXT_WIDTH)
    yield from _linear("text_embedding.2", width, width)
    yield from _linear("time_embedding.0", width, _FREQUENCIES)
    yield from _linear("time_embedding.2", width, width)
    yield from _linear("time_projection.1", 6 * width, width)
    for number in range(shape.layers):
        block = f"blocks.{number}"
        yield f"{block}.modulation", [1, 6, width]
        for attention in ("self_attn", "cross_attn"):
            for part in "qkvo":
                yield from _linear(f"{block}.{attention}.{part}", width, width)
            yield f"{block}.{attention}.norm_q.weight", [width]
            yield f"{block}.{attention}.norm_k.weight", [width]
        yield f"{block}.norm3.weight", [width]
        yield f"{block}.norm3.bias", [width]
        yield from _linear(f"{block}.ffn.0", inner, width)
        yield from _linear(f"{block}.ffn.2", width, inner)
    yield "head.modulation", [1, 2, width]
    yield from _linear("head.head", 4 * _CHANNELS, width)


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, list[int]]]:
    yield f"{name}.weight", [out, into]
    yield f"{name}.bias", [out]


def _content(name: str, dims: list[int], noise: bytes) -> bytes:
    if len(dims) > 1:
        return noise
    # Norms pass everything on, biases add nothing.
    return struct.pack("<e", 1.0 if name.endswith("weight") else 0.0) * (_PIECE // 2)


def _fill(file: BinaryIO, piece: bytes, size: int) -> None:
    for done in range(0, size, len(piece)):
        file.write(piece[: size - done])


def _noise_fp8(seed: int) -> bytes:
    """Numbers up to 0.12 in e4m3: sign, two bits of the exponent, mantissa."""
    return random.Random(seed).randbytes(_PIECE).translate(bytes(byte & 0x9F for byte in range(256)))


def _noise_fp16(seed: int) -> bytes:
    """Numbers from 0.016 to 0.03 with either sign: the exponent is fixed."""
    both = bytearray(random.Random(seed).randbytes(_PIECE))
    both[1::2] = both[1::2].translate(bytes(0x24 | byte & 0x83 for byte in range(256)))
    return bytes(both)
