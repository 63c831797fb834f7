"""From a graph to a workflow that the editor opens: every node with its place, its sockets and its widgets.

Source: ComfyUI's frontend, ``workflowSchema`` (version 0.4) and ``LGraphNode`` (``serialize``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.graph import Graph
from comfy.graphs.links import Link, class_of, inputs_of, links
from comfy.node_defs.definitions import Definitions, InputDef, NodeDef, Section
from comfy.node_defs.dynamic_inputs import inputs_for
from comfy.ui.widgets import has_own_way, is_widget, saved_values

_COLUMN: Final = 420  # pixels from one column of nodes to the next
_WIDTH: Final = 340
_ROW: Final = 26  # of a socket or a widget
_HEAD: Final = 60  # title and margins
_TEXT: Final = 140  # of a text of several lines
_GAP: Final = 60


def draw(graph: Graph, known: Definitions) -> dict[str, Any]:
    """The workflow file of a graph: `convert` makes the same graph of it.

    Nodes stand in columns, each to the right of all that it draws on.

    Raises:
        GraphError: a node's class is not known, or is saved in a way of its own.
    """
    _refuse_unknown(graph, known)
    drawn = dict(zip(graph, _numbers(graph), strict=True))
    wires = {(each.node_id, each.input_name): (at, each) for at, each in enumerate(links(graph), start=1)}
    nodes_of = {node_id: known[graph[node_id]["class_type"]] for node_id in graph}
    sockets = {node_id: _sockets(node, inputs_of(graph, node_id)) for node_id, node in nodes_of.items()}
    leaving: dict[tuple[str, int], list[int]] = defaultdict(list)
    for at, each in wires.values():
        leaving[each.source_id, each.slot].append(at)
    columns = _columns(graph)
    heights: dict[int, int] = defaultdict(int)  # used of each column
    nodes = []
    for order, node_id in enumerate(sorted(graph, key=columns.__getitem__)):
        node = nodes_of[node_id]
        height = _height(node, len(sockets[node_id]))
        column = columns[node_id]
        nodes.append(
            {
                "id": drawn[node_id],
                "type": node.class_type,
                "pos": [column * _COLUMN, heights[column]],
                "size": [_WIDTH, height],
                "flags": {},
                "order": order,
                "mode": 0,
                "inputs": [_input(each, wires.get((node_id, each.name))) for each in sockets[node_id]],
                "outputs": _outputs(node, [leaving.get((node_id, at)) for at in range(len(node.outputs))]),
                "properties": {"Node name for S&R": node.class_type},
                "widgets_values": saved_values(node, inputs_of(graph, node_id)),
                **_title(graph, node_id),
            }
        )
        heights[column] += height + _GAP
    return {
        "last_node_id": max(drawn.values(), default=0),
        "last_link_id": len(wires),
        "nodes": nodes,
        "links": [_link(at, each, drawn, sockets, nodes_of) for at, each in wires.values()],
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _refuse_unknown(graph: Graph, known: Definitions) -> None:
    problems = [
        GraphProblem(
            kind="cannot_be_drawn",
            message=f"how the editor would save a {class_type} is not known; the API format says the same",
            node_id=node_id,
            class_type=class_type,
        )
        for node_id in graph
        if (class_type := str(class_of(graph, node_id))) not in known or has_own_way(class_type)
    ]
    if problems:
        raise GraphError(problems)


def _numbers(graph: Graph) -> list[int]:
    """Ids as the editor has them: the graph's own, where they are numbers."""
    if all(node_id.isdecimal() and node_id == str(int(node_id)) for node_id in graph):
        return [int(node_id) for node_id in graph]
    return list(range(1, len(graph) + 1))


def _sockets(node: NodeDef, given: Mapping[str, Any]) -> list[InputDef]:
    """Sockets first, then those of widgets, as the editor has them."""
    shown = [each for each in inputs_for(node, given) if each.section is not Section.HIDDEN]
    return sorted(shown, key=is_widget)


def _columns(graph: Graph) -> dict[str, int]:
    """Of each node how many stand before it on the longest way."""
    columns = dict.fromkeys(graph, 0)
    before = [(each.source_id, each.node_id) for each in links(graph)]
    for _ in graph:  # as often as the longest way is long, at most
        moved = {to: columns[source] + 1 for source, to in before if columns[to] <= columns[source]}
        if not moved:
            break
        for to, column in moved.items():
            columns[to] = max(columns[to], column)
    return columns


def _height(node: NodeDef, sockets: int) -> int:
    texts = sum(bool(each.options.get("multiline")) for each in node.inputs)
    return _HEAD + _ROW * max(sockets, len(node.outputs)) + _TEXT * texts


def _input(wanted: InputDef, wire: tuple[int, Link] | None) -> dict[str, Any]:
    widget = {"widget": {"name": wanted.name}} if is_widget(wanted) else {}
    return {"name": wanted.name, "type": wanted.kind, **widget, "link": None if wire is None else wire[0]}


def _outputs(node: NodeDef, leaving: Sequence[list[int] | None]) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "type": each.kind, "slot_index": at, "links": leaving[at]}
        for at, each in enumerate(node.outputs)
    ]


def _title(graph: Graph, node_id: str) -> dict[str, str]:
    meta = graph[node_id].get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    return {"title": str(title)} if title else {}


def _link(
    at: int,
    link: Link,
    drawn: Mapping[str, int],
    sockets: Mapping[str, Sequence[InputDef]],
    nodes: Mapping[str, NodeDef],
) -> list[Any]:
    names = [each.name for each in sockets[link.node_id]]
    kind = nodes[link.source_id].outputs[link.slot].kind
    return [at, drawn[link.source_id], link.slot, drawn[link.node_id], names.index(link.input_name), kind]
