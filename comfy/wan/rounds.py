"""How often a loop runs what lies in it.

Loops are a pair of nodes: an end that is linked to its start by a flow, and runs again what lies between.

Source: ComfyUI-Easy-Use py/nodes/logic.py; execution-inversion-demo-comfyui ``flow_control.py``,
``component.py``; ComfyUI comfy_extras/nodes_loop.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from comfy.graphs.links import ancestors, class_of, inputs_of, links
from comfy.graphs.values import literal, whole_of

_END: Final = re.compile(r"loop_?(end|close)$|^end_?loop$", re.IGNORECASE)
_START: Final = re.compile(r"loop_?(start|open)$|^start_?loop$", re.IGNORECASE)
_FLOWS: Final = ("flow", "flow_control")
_COUNTS: Final = ("total", "remaining", "mode.num_iterations")


def rounds_of(graph: Mapping[str, Any], node_id: str) -> int | None:
    """How often a node runs: 1 outside of all loops; None where a loop's rounds follow only when it runs."""
    rounds: int | None = 1
    before: set[str] | None = None
    for start, end in _loops(graph):
        before = ancestors(graph, [node_id]) if before is None else before
        if start in before and node_id in ancestors(graph, [end]):
            count = _count(graph, start)
            rounds = None if rounds is None or count is None else rounds * max(count, 1)
    return rounds


def _count(graph: Mapping[str, Any], start: str) -> int | None:
    for name in _COUNTS:
        if name in inputs_of(graph, start):
            return whole_of(literal(graph, start, name))
    names = ("start_iteration_index", "max_iteration", "step")
    first, last, step = (whole_of(literal(graph, start, f"mode.{name}")) for name in names)
    return math.ceil((last - first) / step) if first is not None and last is not None and step else None


def _loops(graph: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Start and end of each loop."""
    ends = [node_id for node_id in graph if _END.search(class_of(graph, node_id) or "")]
    for end in ends:
        linked = [link.source_id for link in links({end: graph[end]}) if link.input_name in _FLOWS]
        # ComfyUI's own end has no flow: it closes the loop that its values come from.
        starts = linked or sorted(ancestors(graph, [end]))
        yield from ((each, end) for each in starts if _START.search(class_of(graph, each) or ""))
