"""Reading a graph: its links, and what stands behind an input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Nodes that only hand a value on: the input in which the value stands.
# Source: ComfyUI comfy_extras/nodes_primitive.py; KJNodes; wan.md section 8 rule 2.
_VALUE_INPUT = {
    "PrimitiveInt": "value",
    "PrimitiveFloat": "value",
    "PrimitiveString": "value",
    "PrimitiveStringMultiline": "value",
    "PrimitiveBoolean": "value",
    "INTConstant": "value",
    "FloatConstant": "value",
    "StringConstant": "string",
    "StringConstantMultiline": "string",
    "Reroute": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An input that takes its value from another node."""

    node_id: str  # the node that has the input
    input_name: str
    source_id: str  # the node it takes the value from
    slot: int  # which of that node's outputs


def is_link(value: object) -> bool:
    """Tell whether an input's value is a link to another node's output.

    Source: ComfyUI comfy_execution/graph_utils.py, ``is_link``.
    """
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def links(graph: Mapping[str, Any]) -> Iterator[Link]:
    """Walk every link of the graph, in the order of its nodes."""
    for node_id in graph:
        for name, value in inputs_of(graph, node_id).items():
            if is_link(value):
                yield Link(node_id=node_id, input_name=name, source_id=value[0], slot=value[1])


def inputs_of(graph: Mapping[str, Any], node_id: str) -> dict[str, Any]:
    """Give a node's inputs; empty when it has none."""
    inputs = graph[node_id].get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def class_of(graph: Mapping[str, Any], node_id: str | None) -> str | None:
    """Give a node's class, or None when there is no such node or it has none."""
    node = graph.get(node_id) if node_id is not None else None
    class_type = node.get("class_type") if isinstance(node, Mapping) else None
    return class_type if isinstance(class_type, str) else None


def nodes_of_class(graph: Mapping[str, Any], *class_types: str) -> list[str]:
    """List the ids of the nodes of these classes, in the graph's order."""
    return [node_id for node_id in graph if class_of(graph, node_id) in class_types]


def literal(graph: Mapping[str, Any], node_id: str, input_name: str) -> Any:
    """Find the literal that an input gets, through links to nodes that only hold a value.

    None when the input is missing or is computed by another node: a widget's value in the file says nothing
    once a link stands in its place.
    """
    for _ in range(len(graph) + 1):
        value = inputs_of(graph, node_id).get(input_name)
        if not isinstance(value, list) or not is_link(value):
            return value
        node_id = value[0]
        holder = _VALUE_INPUT.get(class_of(graph, node_id) or "")
        if holder is None:
            return None
        # A Reroute's single input has no name in some exports: take whatever is there.
        input_name = holder or next(iter(inputs_of(graph, node_id)), "")
    return None


def ancestors(graph: Mapping[str, Any], node_ids: Iterable[str]) -> set[str]:
    """Collect these nodes and all that they draw on: what ComfyUI would run for them."""
    seen: set[str] = set()
    waiting = [node_id for node_id in node_ids if node_id in graph]
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        waiting.extend(_sources(graph, node_id))
    return seen


def find_cycle(graph: Mapping[str, Any]) -> list[str]:
    """Name the nodes of one cycle in the direction of the links, or give an empty list."""
    done: set[str] = set()
    for start in graph:
        if start in done:
            continue
        path: list[str] = [start]
        position = {start: 0}
        branches = [_sources(graph, start)]
        while path:
            source = next(branches[-1], None)
            if source is None:
                branches.pop()
                finished = path.pop()
                del position[finished]
                done.add(finished)
            elif source in position:
                # The path runs against the links (from a node to what feeds it).
                return path[position[source] :][::-1]
            elif source not in done:
                position[source] = len(path)
                path.append(source)
                branches.append(_sources(graph, source))
    return []


def _sources(graph: Mapping[str, Any], node_id: str) -> Iterator[str]:
    return (v[0] for v in inputs_of(graph, node_id).values() if is_link(v) and v[0] in graph)
