"""What a graph's model files take: on disk, on the card, and in which precision they are computed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from comfy.graphs.links import class_of
from comfy.graphs.values import literal
from comfy.node_defs.node_classes import base_class
from comfy.wan.models import ModelFamily, file_bytes

_BYTES_PER_NARROW_PARAMETER: Final = 1.5  # more than that on disk: the weights are 16 bits wide


class Precision(StrEnum):
    """How wide weights are held, as far as time and memory depend on it."""

    WIDE = "16bit"  # bf16, fp16
    FP8 = "fp8"
    INT8 = "int8"
    FP4 = "fp4"
    GGUF = "gguf"  # any of its kinds: unpacked at each use of a layer


_BY_NAME: Final = (
    (Precision.GGUF, re.compile(r"\.gguf$")),
    (Precision.FP4, re.compile(r"(nv|mx)fp4|(?<![a-z0-9])fp4")),
    (Precision.INT8, re.compile(r"int8")),
    (Precision.FP8, re.compile(r"fp8|e4m3|e5m2")),
    (Precision.WIDE, re.compile(r"bf16|fp16|f16")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One diffusion model file."""

    name: str  # as the graph has it
    family: ModelFamily
    file_bytes: int
    resident_bytes: int  # on the card; half of a 16-bit file that its loader makes 8 bits of
    precision: Precision
    certain: bool  # False: the size of the file is not known, and 8 bits a parameter are taken


def weights_of(
    graph: Mapping[str, Any],
    node_id: str,
    name: str,
    family: ModelFamily,
    real_sizes: Mapping[str, int] | None = None,
) -> Weights:
    """Read what one loader's file takes.

    Args:
        real_sizes: file name as in the graph -> bytes on disk, where known.
    """
    known = file_bytes(name, real_sizes)
    size_bytes = int(family.parameters) if known is None else known
    precision = _precision_of(name, size_bytes, family)
    halved = precision is Precision.WIDE and cast_to_fp8(graph, node_id)
    return Weights(
        name=name,
        family=family,
        file_bytes=size_bytes,
        resident_bytes=size_bytes // 2 if halved else size_bytes,
        precision=Precision.FP8 if halved else precision,
        certain=known is not None,
    )


def is_wide(size_bytes: int, family: ModelFamily) -> bool:
    """Whether so many bytes on disk mean weights of 16 bits."""
    return size_bytes > _BYTES_PER_NARROW_PARAMETER * family.parameters


def cast_to_fp8(graph: Mapping[str, Any], node_id: str) -> bool:
    """Whether a loader makes 8 bits of what its file holds as 16."""
    wrapper = base_class(class_of(graph, node_id) or "") == "WanVideoModelLoader"
    value = literal(graph, node_id, "quantization" if wrapper else "weight_dtype")
    return isinstance(value, str) and value.startswith("fp8")


def _precision_of(name: str, size_bytes: int, family: ModelFamily) -> Precision:
    named = next((kind for kind, pattern in _BY_NAME if pattern.search(name.lower())), None)
    if named is not None:
        return named
    return Precision.WIDE if is_wide(size_bytes, family) else Precision.FP8
