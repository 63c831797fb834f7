"""Whether a clip is to be rendered once more: black or noise, and not computed by PyTorch's attention.

Wrong builds of SageAttention do that without a word. Frames are looked at here while the job has the card,
and only where that may have happened: it takes some tenths of a second, once for each of these jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from comfy.doctor.clip import SPOILT, ClipFault, ClipLook, Expected, Thresholds, faults_of
from comfy.rewrites.attention import other_attentions
from worker.errors import BrokenOutput
from worker.results.media import decode, inspect, look_at_sequences
from worker.results.publish import LocalOutput

# As ComfyUI is told to use for all models. Those that split the work are exact, and no fast kernel.
_FAST: Final = ("sage", "flash", "ck")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoilt:
    """A clip that another attention may have spoilt."""

    fault: ClipFault
    attention: str  # that computed it
    of_server: bool  # whether all of ComfyUI uses it; else nodes of the graph do


def spoilt_clip(
    outputs: Sequence[LocalOutput],
    graph: Mapping[str, Any],
    attention_of_server: str | None,
    limits: Thresholds,
) -> Spoilt | None:
    """The first clip that is spoilt, where another attention than PyTorch's has computed; else None."""
    of_server = attention_of_server in _FAST
    of_nodes = [value for _, _, value in other_attentions(graph)]
    if not of_server and not of_nodes:
        return None
    fault = spoilt_by(outputs, limits)
    if fault is None:
        return None
    name = of_nodes[0] if of_nodes else attention_of_server
    return Spoilt(fault=fault, attention=str(name), of_server=of_server)


def spoilt_by(outputs: Sequence[LocalOutput], limits: Thresholds) -> ClipFault | None:
    """What is wrong with the pictures of the first clip that is black, of one colour, or noise."""
    for look in _looks(outputs):
        for fault in faults_of(look, Expected(), limits):
            if fault.id in SPOILT:
                return fault
    return None


def _looks(outputs: Sequence[LocalOutput]) -> Iterator[ClipLook]:
    pictures = []
    for output in outputs:
        try:
            inspected = inspect(output.path)
            decoded = decode(output.path, inspected)
        except BrokenOutput:
            continue  # whoever publishes it says so
        if decoded is not None:
            yield decoded.look
        pictures.append((output.node_id, output.path, inspected))
    yield from look_at_sequences(pictures)
