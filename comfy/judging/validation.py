"""Judge an API-format graph the way ComfyUI does, without a ComfyUI.

`validate` is pure: it looks at the graph and at node definitions and at nothing else. Its `Verdict` says two
things. `error` and `node_errors` are what a server of the given generation would answer, to the letter where
it matters. `problems` is for people, and stricter: it also names what a server finds out only at run time.

The graph may come from anybody. Nothing here recurses, so a chain of thousands of nodes is judged like any
other, and no value makes it raise.

Source: ComfyUI ``execution.py``, ``validate_prompt`` and ``validate_inputs``, and answers of real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, assert_never

from comfy.errors import GraphProblem
from comfy.generations import NEWEST, Generation, NodeFaults
from comfy.graphs import faults
from comfy.judging import advice
from comfy.judging.reasons import Reason, reason_of
from comfy.judging.walk import MOST_PROBLEMS, Walk
from comfy.node_defs.definitions import Definitions
from comfy.node_defs.replacements import replace_nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of one graph."""

    status: int  # what POST /prompt answers: 200, 400, or 500 where ComfyUI itself stumbles
    error: Mapping[str, Any] | None  # ComfyUI's `error` object; None when it would queue the graph
    node_errors: Mapping[str, Any]  # ComfyUI's; not empty in a 200 when only some outputs would run
    outputs: tuple[str, ...]  # ids of the output nodes that would run
    problems: tuple[GraphProblem, ...]  # everything that is wrong, for people; empty means good
    graph: Mapping[str, Any]  # as ComfyUI would run it: "20" for an INT has become 20

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.problems

    @property
    def accepted(self) -> bool:
        """Whether the server would queue it, if only in part."""
        return self.status == 200

    def rejection(self) -> dict[str, Any]:
        """The JSON body of ComfyUI's 400."""
        return {"error": self.error, "node_errors": self.node_errors}


def validate(
    graph: Any,
    definitions: Definitions,
    *,
    generation: Generation = NEWEST,
    input_file_exists: Callable[[str], bool] | None = None,
    targets: Collection[str] | None = None,
) -> Verdict:
    """Judge `graph` by the node definitions of a server.

    Args:
        graph: node id -> ``{"class_type": ..., "inputs": {...}}``; it is not changed.
        input_file_exists: tells whether an input file (``"start.png"``, ``"sub/start.png [input]"``) is
            there; without it the names of input files are not judged, because they may be uploaded later.
        targets: ids of the output nodes to run (``partial_execution_targets``); None means all.
    """
    if not isinstance(graph, Mapping):
        return _verdict(status=500, problems=[faults.not_a_graph(graph)])
    renamed = replace_nodes(graph, definitions, generation)
    status, error, problems = _judge_structure(graph if renamed is None else renamed, definitions, generation)
    if renamed is None:
        status, error = 500, None
    else:
        graph = renamed
    walk = Walk(graph, definitions, generation, input_file_exists)
    outputs = _output_ids(graph, definitions, targets)
    # Without an output node there is nothing to start from, but a person wants to hear the rest too.
    if outputs:
        walk.visit_outputs(outputs)
    else:
        walk.visit(graph)
    problems += walk.problems()
    if not outputs and not any(problem.kind in _HIDES_OUTPUTS for problem in problems):
        problems.insert(0, GraphProblem(kind="prompt_no_outputs", message=advice.no_outputs(graph)))
    if error is not None or status == 500:
        return _verdict(status=status, error=error, problems=problems, graph=graph)
    if not outputs:
        error = reason_of("prompt_no_outputs", "Prompt has no outputs")
        return _verdict(status=400, error=error, problems=problems, graph=graph)
    return _judge_outputs(walk, outputs, problems)


# Kinds of problems that are reason enough for a graph to show no output node.
_HIDES_OUTPUTS: Final = frozenset(
    {"ui_format", "missing_node_type", "missing_class_type", "id_not_text", "node_not_object"}
)


def _judge_outputs(walk: Walk, outputs: tuple[str, ...], problems: list[GraphProblem]) -> Verdict:
    good = tuple(node_id for node_id in outputs if walk.validated[node_id][0])
    error: Reason | None = None
    if not good:
        reasons = (reason for node_id in outputs for reason in walk.validated[node_id][1])
        details = "\n".join(f"{reason['message']}: {reason['details']}" for reason in reasons)
        error = reason_of("prompt_outputs_failed_validation", "Prompt outputs failed validation", details)
    return _verdict(
        status=200 if good else 400,
        error=error,
        node_errors=walk.node_errors(),
        outputs=good,
        problems=problems,
        graph=walk.converted_graph(),
    )


def _verdict(
    *,
    status: int,
    problems: Iterable[GraphProblem],
    error: Mapping[str, Any] | None = None,
    node_errors: Mapping[str, Any] | None = None,
    outputs: tuple[str, ...] = (),
    graph: Mapping[str, Any] | None = None,
) -> Verdict:
    return Verdict(
        status=status,
        error=error,
        node_errors=node_errors or {},
        outputs=outputs,
        problems=tuple(problems),
        graph=graph or {},
    )


# --- the graph as a whole -----------------------------------------------------------------------------------


def _judge_structure(
    graph: Mapping[Any, Any], definitions: Definitions, generation: Generation
) -> tuple[int, Reason | None, list[GraphProblem]]:
    """What ComfyUI says of the first node that is no node or of no known class, and all such for people."""
    if faults.is_editor_file(graph):
        problems = [faults.ui_format()]
    else:
        found = (_node_problem(node_id, node, definitions) for node_id, node in graph.items())
        problems = list(islice((problem for problem in found if problem is not None), MOST_PROBLEMS))
    for node_id, node in graph.items():
        status, error = _structure_answer(node_id, node, definitions, generation)
        if status != 200:
            return status, error, problems
    return 200, None, problems


def _node_problem(node_id: Any, node: Any, definitions: Definitions) -> GraphProblem | None:
    if not isinstance(node_id, str):
        return faults.id_not_text(node_id)
    if not isinstance(node, Mapping):
        return faults.node_not_object(node_id, node)
    if "class_type" not in node:
        return faults.missing_class_type(node_id)
    class_type = node["class_type"]
    if isinstance(class_type, str) and class_type in definitions:
        return None
    return advice.unknown_class(node_id, class_type, definitions)


def _structure_answer(
    node_id: Any, node: Any, definitions: Definitions, generation: Generation
) -> tuple[int, Reason | None]:
    if not isinstance(node, Mapping):
        # The old server asks `"class_type" in node`, which texts and lists answer too; the new calls .get.
        is_asked = generation.node_faults is NodeFaults.INVALID_PROMPT
        if is_asked and isinstance(node, str | list) and "class_type" not in node:
            return 400, _no_class_type(node_id, {}, generation)
        return 500, None
    if "class_type" not in node:
        return 400, _no_class_type(node_id, node, generation)
    class_type = node["class_type"]
    if isinstance(class_type, list | dict):
        return 500, None
    if class_type in definitions:
        return 200, None
    return 400, _unknown_class(node_id, node, generation)


def _unknown_class(node_id: Any, node: Mapping[str, Any], generation: Generation) -> Reason:
    class_type = node["class_type"]
    details = f"Node ID '#{node_id}'"
    match generation.node_faults:
        case NodeFaults.INVALID_PROMPT:
            message = f"Cannot execute because node {class_type} does not exist."
            return reason_of("invalid_prompt", message, details)
        case NodeFaults.MISSING_NODE_TYPE:
            title = _title(node, class_type)
            extra = {"node_id": node_id, "class_type": class_type, "node_title": title}
            message = f"Node '{title}' not found. The custom node may not be installed."
            return reason_of("missing_node_type", message, details, extra)
    assert_never(generation.node_faults)


def _no_class_type(node_id: Any, node: Mapping[str, Any], generation: Generation) -> Reason:
    details = f"Node ID '#{node_id}'"
    match generation.node_faults:
        case NodeFaults.INVALID_PROMPT:
            message = "Cannot execute because a node is missing the class_type property."
            return reason_of("invalid_prompt", message, details)
        case NodeFaults.MISSING_NODE_TYPE:
            title = _title(node)
            named = title or f"ID #{node_id}"
            why = "The workflow may be corrupted or a custom node is missing."
            message = f"Node '{named}' has no class_type. {why}"
            extra = {"node_id": node_id, "class_type": None, "node_title": title}
            return reason_of("missing_node_type", message, details, extra)
    assert_never(generation.node_faults)


def _title(node: Mapping[str, Any], default: Any = None) -> Any:
    meta = node.get("_meta")
    return meta.get("title", default) if isinstance(meta, Mapping) else default


def _output_ids(
    graph: Mapping[Any, Any], definitions: Definitions, targets: Collection[str] | None
) -> tuple[str, ...]:
    found = []
    for node_id, node in graph.items():
        class_type = node.get("class_type") if isinstance(node, Mapping) else None
        definition = definitions.get(class_type) if isinstance(class_type, str) else None
        wanted = targets is None or node_id in targets
        if isinstance(node_id, str) and definition is not None and definition.output_node and wanted:
            found.append(node_id)
    return tuple(found)
