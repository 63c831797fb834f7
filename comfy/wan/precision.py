"""How wide a file's weights are, as its name tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Precision(StrEnum):
    """How wide weights are held, as far as time and memory depend on it."""

    FULL = "32bit"
    WIDE = "16bit"  # bf16, fp16
    FP8 = "fp8"
    INT8 = "int8"
    FP4 = "fp4"
    GGUF = "gguf"  # any of its kinds: unpacked at each use of a layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """A precision, and the bits that a weight of it takes in the file, scales included."""

    precision: Precision
    bits: float


# Bits of a weight by GGUF kind. Some tensors of a file stay wider, so these are sizes of files by parameters:
# unsloth's Wan2.2-TI2V-5B-GGUF (Hugging Face), 5.0e9 parameters. QuantStack's A14B files lie within 3 % of
# them (Q3_K_S 6.51 GB, Q4_K_M 9.65 GB, Q5_K_S 10.14 GB of 14.29e9). Kinds that are not published there (IQ4,
# Q4_1, Q5_0, Q5_1) have the bits of their blocks and 0.34 more, as Q4_0 has.
# Source of the blocks: https://github.com/ggml-org/llama.cpp (ggml/src/ggml-common.h).
_GGUF_BITS: Final = {
    "q2_k": 2.97,
    "q3_k_s": 3.68,
    "q3_k_m": 4.07,
    "iq4_xs": 4.59,
    "iq4_nl": 4.84,
    "q4_0": 4.84,
    "q4_1": 5.34,
    "q4_k_s": 4.98,
    "q4_k_m": 5.50,
    "q5_0": 5.84,
    "q5_1": 6.34,
    "q5_k_s": 5.70,
    "q5_k_m": 6.10,
    "q6_k": 6.73,
    "q8_0": 8.64,
    "f16": 16.0,
    "bf16": 16.0,
    "f32": 32.0,
}
# "Q4_K" without a size is the medium one.
_GGUF_PLAIN: Final = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}
_GGUF_KIND: Final = re.compile(r"(?<![a-z0-9])(i?q\d(?:_[a-z0-9]+){1,2}|b?f16|f32)(?![a-z0-9])")
_GGUF_UNTOLD: Final = 8.64  # the widest that is usual: it asks for more, never for less

# The narrowest that a name tells counts: "fp8_e4m3fn_scaled_bf16" holds fp8.
_BY_NAME: Final = (
    # Four bits and one scale of eight for sixteen weights.
    # Source: https://docs.nvidia.com/deeplearning/transformer-engine (NVFP4)
    (Width(precision=Precision.FP4, bits=4.5), re.compile(r"(nv|mx)_?fp4|(?<![a-z0-9])(fp4|int4|w4a\d+)")),
    (Width(precision=Precision.INT8, bits=8.0), re.compile(r"int8|w8a8")),
    (Width(precision=Precision.FP8, bits=8.0), re.compile(r"fp8|f8_?e[45]|e4m3|e5m2")),
    (Width(precision=Precision.WIDE, bits=16.0), re.compile(r"b?fp?_?16|half")),
    (Width(precision=Precision.FULL, bits=32.0), re.compile(r"fp?32")),
)


def width_of(name: str) -> Width | None:
    """The width of the weights in a file of this name; None when it does not tell."""
    text = name.lower()
    if text.endswith(".gguf"):
        kinds = [_GGUF_PLAIN.get(kind, kind) for kind in _GGUF_KIND.findall(text)]
        known = [_GGUF_BITS[kind] for kind in kinds if kind in _GGUF_BITS]
        return Width(precision=Precision.GGUF, bits=known[-1] if known else _GGUF_UNTOLD)
    return next((width for width, pattern in _BY_NAME if pattern.search(text)), None)
