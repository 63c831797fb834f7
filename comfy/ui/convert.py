"""From a workflow as the editor saves it to the graph that its "Export (API)" would write.

Source: ComfyUI's frontend, ``executionUtil.ts`` (``graphToPrompt``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.faults import EXPORT
from comfy.graphs.graph import MAX_NODES, Graph, LeftOut
from comfy.node_defs.definitions import Definitions, NodeDef
from comfy.node_defs.later_inputs import earlier_forms
from comfy.ui.casts import typed
from comfy.ui.document import Document, Mode, Node, fail, read_document
from comfy.ui.groups import PREFIXES, with_groups_opened
from comfy.ui.scopes import Scope, open_scopes
from comfy.ui.sources import VIRTUAL, Literal, SameAs, Sources, Taken, TypedIn
from comfy.ui.widgets import Saved, ShiftedValuesError, Widgets, read_widgets, read_without_definition, sent

_MOST_PROBLEMS: Final = 100
_SUBGRAPH_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SILENT: Final[Mapping[int, str]] = {Mode.NEVER: "muted", Mode.BYPASS: "bypassed"}
_MOST_NOTES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A saved workflow as a graph. The graph is not checked."""

    graph: Graph
    notes: tuple[str, ...]  # what was taken otherwise than it stands in the file, in words
    left_out: tuple[LeftOut, ...] = ()  # muted and bypassed nodes


def convert(raw: Mapping[str, Any], definitions: Definitions) -> Converted:
    """Give the API-format graph of a saved workflow.

    Muted nodes are left out, bypassed ones hand their inputs on, subgraphs are opened (their nodes get ids
    like "129:98"), widget values are named after the inputs they stand for.

    Raises:
        GraphError: with a problem for every node that cannot be converted.
    """
    document = with_groups_opened(read_document(raw), definitions)
    root = open_scopes(document)
    sources = Sources()
    graph: Graph = {}
    own: dict[str, Mapping[str, Any]] = {}  # what each node's own widgets say
    notes: list[str] = []
    problems: list[GraphProblem] = []
    unknown: list[GraphProblem] = []
    left_out: list[LeftOut] = []
    for scope, node in root.walk():
        node_id = scope.id_of(node)
        if (how := _SILENT.get(node.mode)) is not None and node.class_type not in VIRTUAL:
            feeds = tuple(scope.fed_by.get(node.node_id, ()))
            left_out.append(LeftOut(node_id=node_id, class_type=node.class_type, how=how, feeds=feeds))
        if not _runs(scope, node):
            continue
        definition = definitions.get(node.class_type)
        try:
            widgets = _widgets_of(node, definition)
        except ShiftedValuesError as exc:
            problems.append(_shifted(exc, node, node_id))
            continue
        if widgets is not None:
            own[node_id] = widgets.values
            graph[node_id], told = _converted(scope, node, definition, widgets, sources)
            notes += [f"node {node_id} ({node.class_type}): {note}" for note in told]
        elif _is_opaque(node) or _is_linked(scope, node):
            problems.append(_unknown(document, node, node_id))
        else:
            unknown.append(_unknown(document, node, node_id))
        if len(problems) >= _MOST_PROBLEMS:
            break
        if len(graph) > MAX_NODES:
            fail("too_many_nodes", f"over {MAX_NODES} nodes of the workflow would run, which is the limit")
    if problems or (unknown and not graph):
        raise GraphError(problems or unknown)
    if not graph:
        fail("empty_graph", "no node of the workflow would run: all are muted, bypassed or notes")
    notes += [
        f"node {each.node_id} ({each.class_type}): unknown, linked to nothing: left out" for each in unknown
    ]
    graph = _without_loose_ends(_with_shared_values(graph, own))
    return Converted(graph=graph, notes=tuple(notes[:_MOST_NOTES]), left_out=tuple(left_out))


def _runs(scope: Scope, node: Node) -> bool:
    if node.mode in _SILENT or node.class_type in VIRTUAL:
        return False
    return node.node_id not in scope.children


def _widgets_of(node: Node, definition: NodeDef | None) -> Widgets | None:
    """What the node's widgets say; None when nothing tells for which inputs its values stand."""
    saved = Saved(
        values=node.values,
        named=node.named,
        slots=[(slot.widget, slot.kind) for slot in node.inputs if slot.widget is not None],
        sockets=frozenset(slot.name for slot in node.inputs),
        linked=frozenset(slot.name for slot in node.inputs if slot.widget is None and slot.link is not None),
    )
    if definition is not None:
        return read_widgets(definition, saved, partial(earlier_forms, node.class_type))
    if _is_opaque(node):
        return None
    values = read_without_definition(saved)
    return None if values is None else Widgets(values=values)


def _is_opaque(node: Node) -> bool:
    """Whether it only stands for other nodes, so that it cannot run whatever its values are."""
    return node.class_type.startswith(PREFIXES) or bool(_SUBGRAPH_ID.fullmatch(node.class_type))


def _is_linked(scope: Scope, node: Node) -> bool:
    return any(node.node_id in (wire.origin_id, wire.target_id) for wire in scope.sheet.wires.values())


def _converted(
    scope: Scope, node: Node, definition: NodeDef | None, widgets: Widgets, sources: Sources
) -> tuple[dict[str, Any], list[str]]:
    """The node as it runs, and in words what was taken otherwise than it stands."""
    inputs, notes = dict(widgets.values), [*widgets.notes]
    for slot in node.inputs:
        if slot.link is None:
            continue
        source = sources.of(scope, slot.link, slot.kind)
        match source:
            case Taken(node_id=node_id, slot=number):
                inputs[slot.name] = [node_id, number]
            case Literal(value=value):
                inputs[slot.name] = sent(value)
            case TypedIn(value=value, level=scope.path):
                wanted = definition.input(slot.name) if definition is not None else None
                kept = value if wanted is None else typed(wanted, value)
                inputs[slot.name] = sent(kept)
                if kept != value:
                    notes.append(f"{slot.name}: {value} is typed in, and is {kept} on the steps of its input")
            case SameAs():
                inputs[slot.name] = source
    converted: dict[str, Any] = {"class_type": node.class_type, "inputs": inputs}
    if meta := {**({"title": node.title} if node.title else {}), **node.pack}:
        converted["_meta"] = meta
    return converted, notes


def _with_shared_values(graph: Graph, own: Mapping[str, Mapping[str, Any]]) -> Graph:
    """Give every input that shares another's widget its value; its own, where that one has none."""
    for node_id, node in graph.items():
        for name, value in list(node["inputs"].items()):
            if isinstance(value, SameAs):
                shared = own.get(value.node_id, {}).get(value.input_name, own[node_id].get(name))
                if shared is None:
                    del node["inputs"][name]
                else:
                    node["inputs"][name] = shared
    return graph


def _without_loose_ends(graph: Graph) -> Graph:
    """Drop links to nodes that are not in the graph, as the editor does."""
    for node in graph.values():
        inputs = node["inputs"]
        for name in [
            name for name, value in inputs.items() if isinstance(value, list) and value[0] not in graph
        ]:
            del inputs[name]
    return graph


def _unknown(document: Document, node: Node, node_id: str) -> GraphProblem:
    kind = "missing_node_type"
    if node.class_type in document.group_nodes or node.class_type.startswith(PREFIXES):
        kind = "unsupported_node"
        message = (
            "this is a group node, and nothing is known of one of its nodes: connect a farm whose ComfyUI "
            f"has them, or {EXPORT}"
        )
    elif _SUBGRAPH_ID.fullmatch(node.class_type):
        message = f"the subgraph that this node stands for is not in the file; {EXPORT}"
    else:
        message = (
            f"nothing is known of this node class{_from_pack(node)}, and the file does not name its values: "
            f"connect a farm whose ComfyUI has it, or {EXPORT}"
        )
    return GraphProblem(kind=kind, message=message, node_id=node_id, class_type=node.class_type)


def _from_pack(node: Node) -> str:
    name = node.pack.get("cnr_id") or node.pack.get("aux_id")
    version = node.pack.get("ver")
    return f" of the pack {name}{f' {version}' if version else ''}" if name else ""


def _shifted(exc: ShiftedValuesError, node: Node, node_id: str) -> GraphProblem:
    return GraphProblem(
        kind="shifted_values",
        message=str(exc),
        node_id=node_id,
        class_type=node.class_type,
        input_name=exc.name,
    )
