"""A refused ``POST /prompt`` in words for a person: which node, which input, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from comfy.errors import GraphError, GraphProblem, GraphRejected
from comfy.graphs import faults
from comfy.graphs.graph import check_graph, class_of, near_names
from comfy.graphs.required import is_model_file
from comfy.judging import advice
from comfy.node_defs.node_classes import model_folder

# 0.3.64: "Cannot execute because node X does not exist." From 0.12: the type "missing_node_type".
_UNKNOWN_CLASS = re.compile(r"node '?(?P<class>.+?)'? (does not exist|not found)")
_NODE_ID = re.compile(r"Node ID '#(?P<id>.+)'")


def read_rejection(status: int, body: Any, graph: Mapping[str, Any]) -> GraphRejected:
    """Read the server's answer: a 400, or a 200 that carries ``node_errors``.

    Source: ComfyUI execution.py, ``validate_prompt``; the forms of 0.3.64 and 0.12.1.
    """
    answer = body if isinstance(body, Mapping) else {}
    problems = list(_node_problems(answer.get("node_errors")))
    if not problems:
        problems = list(_graph_problems(answer.get("error"), graph))
    return GraphRejected(problems, status=status, body=body)


def _node_problems(node_errors: Any) -> Iterator[GraphProblem]:
    for node_id, told in (node_errors if isinstance(node_errors, Mapping) else {}).items():
        class_type = told.get("class_type") if isinstance(told, Mapping) else None
        reasons = told.get("errors") if isinstance(told, Mapping) else None
        for reason in reasons if isinstance(reasons, list) else []:
            if isinstance(reason, Mapping):
                yield _missing_model(node_id, class_type, reason) or advice.explain(
                    node_id, class_type, reason
                )


def _missing_model(node_id: str, class_type: Any, reason: Mapping[str, Any]) -> GraphProblem | None:
    """Say of a model file that is not there which folder it belongs into, and what there is instead."""
    extra = reason.get("extra_info")
    if reason.get("type") != "value_not_in_list" or not isinstance(extra, Mapping):
        return None
    input_name, value = extra.get("input_name"), extra.get("received_value")
    folder = model_folder(str(class_type), str(input_name))
    if not isinstance(value, str) or not (folder or is_model_file(value)):
        return None
    choices = [str(choice) for choice in advice.choices_of(extra.get("input_config")) or ()]
    name = faults.shorten(value)
    there = f"; there are: {', '.join(near_names(value, choices))}" if choices else ""
    where = f"in models/{folder}" if folder else "among the models"
    return GraphProblem(
        kind="missing_model",  # ours: ComfyUI says value_not_in_list of a mistyped sampler too
        message=f"model file {name} is not {where} of this ComfyUI: put it there{there}",
        node_id=node_id,
        class_type=str(class_type),
        input_name=str(input_name),
    )


def _graph_problems(error: Any, graph: Mapping[str, Any]) -> Iterator[GraphProblem]:
    told = error if isinstance(error, Mapping) else {}
    kind, message, details = (str(told.get(key) or "") for key in ("type", "message", "details"))
    unknown = _UNKNOWN_CLASS.search(message)
    if kind == "missing_node_type" or unknown or "class_type" in message:
        yield _unknown_class(told.get("extra_info"), unknown, details, graph)
        return
    # A cycle comes back without details: the server ran into its recursion limit. We can name the nodes.
    try:
        check_graph(graph)
    except GraphError as exc:
        yield from exc.problems
        return
    if kind == "prompt_no_outputs":
        message = advice.no_outputs(graph)
    yield GraphProblem(
        kind=kind or "rejected", message=f"{message} {details}".strip() or "no reason was given"
    )


def _unknown_class(
    extra: Any, unknown: re.Match[str] | None, details: str, graph: Mapping[str, Any]
) -> GraphProblem:
    named = _NODE_ID.search(details)
    extra = extra if isinstance(extra, Mapping) else {}
    node_id = extra.get("node_id") or (named["id"] if named else None)
    class_type = (
        extra.get("class_type") or (unknown["class"] if unknown else None) or class_of(graph, node_id)
    )
    return (
        faults.missing_class_type(node_id)
        if class_type is None
        else faults.missing_node_type(node_id, class_type)
    )
