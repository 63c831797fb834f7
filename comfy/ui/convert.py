"""From a workflow as the editor saves it to the graph that its "Export (API)" would write.

Source: ComfyUI's frontend, ``executionUtil.ts`` (``graphToPrompt``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.graph import (
    MAX_NODES,
    Graph,
)
from comfy.node_defs.definitions import (
    Definitions,
    NodeDef,
)
from comfy.ui.document import Document, Mode, Node, fail, read_document
from comfy.ui.scopes import Scope, open_scopes
from comfy.ui.sources import VIRTUAL, Gone, Literal, Sources, Taken
from comfy.ui.widgets import ShiftedValuesError, widget_values

_MOST_PROBLEMS: Final = 100
_SUBGRAPH_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# They link by rules that only the editor knows how to apply.
_BY_RULES: Final = re.compile(r"^(Anything Everywhere|Seed Everywhere|Prompts? Everywhere|Simple String$)")
_EXPORT: Final = "export it in ComfyUI with Workflow > Export (API)"


def convert(raw: Mapping[str, Any], definitions: Definitions) -> Graph:
    """Give the API-format graph of a saved workflow.

    Muted nodes are left out, bypassed ones hand their inputs on, subgraphs are opened (their nodes get ids
    like "129:98"), widget values are named after the inputs they stand for. The graph is not checked.

    Raises:
        GraphError: with a problem for every node that cannot be converted.
    """
    document = read_document(raw)
    root = open_scopes(document)
    sources = Sources()
    graph: Graph = {}
    problems: list[GraphProblem] = []
    for scope, node in root.walk():
        if not _runs(scope, node):
            continue
        node_id = scope.id_of(node)
        definition = definitions.get(node.class_type)
        if definition is None:
            problems.append(_unknown(document, node, node_id))
        else:
            try:
                graph[node_id] = _converted(scope, node, definition, sources)
            except ShiftedValuesError as exc:
                problems.append(_shifted(exc, node, node_id))
        if len(problems) >= _MOST_PROBLEMS:
            break
        if len(graph) > MAX_NODES:
            fail("too_many_nodes", f"over {MAX_NODES} nodes of the workflow would run, which is the limit")
    if problems:
        raise GraphError(problems)
    if not graph:
        fail("empty_graph", "no node of the workflow would run: all are muted, bypassed or notes")
    return _without_loose_ends(graph)


def _runs(scope: Scope, node: Node) -> bool:
    if node.mode in (Mode.NEVER, Mode.BYPASS) or node.class_type in VIRTUAL:
        return False
    return node.node_id not in scope.children


def _converted(scope: Scope, node: Node, definition: NodeDef, sources: Sources) -> dict[str, Any]:
    inputs: dict[str, Any] = widget_values(definition, node.values)
    for slot in node.inputs:
        if slot.link is None:
            continue
        source = sources.of(scope, slot.link, slot.kind)
        match source:
            case Taken(node_id=node_id, slot=number):
                inputs[slot.name] = [node_id, number]
            case Literal(value=value):
                inputs[slot.name] = {"__value__": list(value)} if isinstance(value, list | tuple) else value
            case Gone():
                inputs.pop(slot.name, None)
    converted: dict[str, Any] = {"class_type": node.class_type, "inputs": inputs}
    if node.title:
        converted["_meta"] = {"title": node.title}
    return converted


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
    if _BY_RULES.match(node.class_type):
        kind = "unsupported_node"
        message = f"the node links others by rules that only the editor can apply; {_EXPORT}"
    elif node.class_type in document.group_nodes or node.class_type.startswith(("workflow>", "workflow/")):
        kind = "unsupported_node"
        message = (
            f"this is a group node, which newer editors turn into a subgraph: save it anew, or {_EXPORT}"
        )
    elif _SUBGRAPH_ID.fullmatch(node.class_type):
        message = f"the subgraph that this node stands for is not in the file; {_EXPORT}"
    else:
        message = (
            "nothing is known of this node class, so its values cannot be named: connect a farm whose "
            f"ComfyUI has it (is its custom node installed there?), or {_EXPORT}"
        )
    return GraphProblem(kind=kind, message=message, node_id=node_id, class_type=node.class_type)


def _shifted(exc: ShiftedValuesError, node: Node, node_id: str) -> GraphProblem:
    return GraphProblem(
        kind="shifted_values",
        message=str(exc),
        node_id=node_id,
        class_type=node.class_type,
        input_name=exc.name,
    )
