"""What a graph's model files take: on disk, on the card, and in which precision they are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from comfy.graphs.values import literal
from comfy.wan.models import ModelFamily
from comfy.wan.names import file_bytes, is_guess, set_of
from comfy.wan.precision import Precision, width_of

DIFFUSION_MODELS: Final = "diffusion_models"
_CASTS: Final = ("quantization", "weight_dtype")
# Of a weight, of the forms that a loader makes others of.
_BYTES: Final = {Precision.FULL: 4.0, Precision.WIDE: 2.0, Precision.FP8: 1.0, Precision.INT8: 1.0}
_BYTES_PER_NARROW_PARAMETER: Final = 1.5  # more than that on disk: the weights are 16 bits wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One diffusion model file."""

    name: str  # as the graph has it
    family: ModelFamily
    file_bytes: int
    resident_bytes: int  # on the card; half of a 16-bit file that its loader makes 8 bits of
    precision: Precision
    certain: bool  # False: its size or its family is a guess


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
    known = file_bytes(name, DIFFUSION_MODELS, real_sizes)
    width = width_of(name)
    guessed = family.parameters * (width.bits if width is not None else 8) / 8
    size_bytes = int(guessed) if known is None else known
    precision = width.precision if width is not None else _by_size(name, size_bytes, family)
    held = cast_to(graph, node_id) or precision
    if _BYTES.get(held, 0) >= _BYTES.get(precision, 0):
        held = precision  # a file that is as narrow already stays as it is
    return Weights(
        name=name,
        family=family,
        file_bytes=size_bytes,
        resident_bytes=size_bytes
        if held is precision
        else int(size_bytes * _BYTES[held] / _BYTES[precision]),
        precision=held,
        certain=known is not None and not is_guess(name),
    )


def is_wide(size_bytes: int, family: ModelFamily) -> bool:
    """Whether so many bytes on disk mean weights of 16 bits."""
    return size_bytes > _BYTES_PER_NARROW_PARAMETER * family.parameters


def cast_to(graph: Mapping[str, Any], node_id: str) -> Precision | None:
    """What a loader makes of a file that holds wider weights; None: it leaves them as they are.

    Source: ComfyUI nodes.py, ``UNETLoader``; WanVideoWrapper nodes_model_loading.py, ``quantization``;
    KJNodes nodes/model_optimization_nodes.py, ``DiffusionModelLoaderKJ``.
    """
    for name in _CASTS:
        value = literal(graph, node_id, name)
        if isinstance(value, str) and (width := width_of(value)) is not None:
            return width.precision
    return None


def _by_size(name: str, size_bytes: int, family: ModelFamily) -> Precision:
    row = set_of(name)
    if row is not None and row.precision is not None:
        return row.precision
    return Precision.WIDE if is_wide(size_bytes, family) else Precision.FP8
