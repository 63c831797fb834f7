"""Reading a graph: its nodes and its links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


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
    """Give a node's inputs; empty when it has none, or there is no such node."""
    node = graph.get(node_id)
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def class_of(graph: Mapping[str, Any], node_id: str | None) -> str | None:
    """Give a node's class, or None when there is no such node or it has none."""
    node = graph.get(node_id) if node_id is not None else None
    class_type = node.get("class_type") if isinstance(node, dict) else None
    return class_type if isinstance(class_type, str) else None


def nodes_of_class(graph: Mapping[str, Any], *class_types: str) -> list[str]:
    """List the ids of the nodes of these classes, in the graph's order."""
    return [node_id for node_id in graph if class_of(graph, node_id) in class_types]


def find_input(graph: Mapping[str, Any], input_path: object) -> tuple[str, str] | None:
    """Split ``node.input``, both of which may hold dots (``61.codec.encoding.crf``); None: no such input."""
    node_id, dot, name = input_path.partition(".") if isinstance(input_path, str) else ("", "", "")
    while dot:
        if node_id in graph and name in inputs_of(graph, node_id):
            return node_id, name
        more, dot, name = name.partition(".")
        node_id = f"{node_id}.{more}"
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
