"""Where frames go: from the clip that is sampled, through interpolation, to the frame rate of an output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.graphs.links import is_link
from comfy.node_defs.node_classes import interpolates, node_class
from comfy.rewrites.draft import Draft

LENGTHS: Final = ("length", "num_frames")


def downstream(draft: Draft, node_id: str) -> set[str]:
    """All that draws on a node, near or far."""
    takers: dict[str, list[str]] = {}
    for other in draft.graph:
        for value in draft.inputs(other).values():
            if is_link(value):
                takers.setdefault(value[0], []).append(other)
    seen: set[str] = set()
    waiting = list(takers.get(node_id, ()))
    while waiting:
        taker = waiting.pop()
        if taker not in seen:
            seen.add(taker)
            waiting.extend(takers.get(taker, ()))
    return seen


def rates_of(draft: Draft, node_id: str) -> list[tuple[str, str]]:
    """Node and input of each frame rate at which a node's frames are shown."""
    reached = downstream(draft, node_id)
    return [(each, name) for each, name in _rates(draft) if each in reached]


def _rates(draft: Draft) -> Iterator[tuple[str, str]]:
    for node_id in draft.running():
        name = node_class(draft.class_of(node_id)).rate
        if name is not None and name in draft.inputs(node_id):
            yield node_id, name


def fps_at(draft: Draft, rate: tuple[str, str]) -> float | None:
    """The frame rate there; None when it is computed while the graph runs."""
    value = draft.value(*rate)
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
    )


def interpolators(draft: Draft) -> list[str]:
    """The running nodes that make frames between frames."""
    return [
        node_id
        for node_id in draft.running()
        if interpolates(draft.class_of(node_id)) and factor_of(draft, node_id) is not None
    ]


def factor_of(draft: Draft, node_id: str) -> int | None:
    """By how much an interpolator multiplies frames; None when it is computed while the graph runs."""
    value = draft.value(node_id, "multiplier")
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def frames_input(draft: Draft, node_id: str) -> str | None:
    """The linked input from which an interpolator takes its frames."""
    inputs = draft.inputs(node_id)
    return next((name for name in ("frames", "images", "image") if is_link(inputs.get(name))), None)


def clip_nodes(draft: Draft) -> list[tuple[str, str]]:
    """The running nodes that say how large and long the clip is, each with the input that says how long."""
    found = []
    for node_id in draft.running():
        name = next((name for name in LENGTHS if name in draft.inputs(node_id)), None)
        if name is not None and {"width", "height"} <= draft.inputs(node_id).keys():
            found.append((node_id, name))
    return found


def whole_number(draft: Draft, node_id: str, input_name: str) -> int | None:
    """A literal whole number above 0 behind an input, else None."""
    value = draft.value(node_id, input_name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
