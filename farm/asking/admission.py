"""Which graphs are let in: node classes that the deployment allows, and file names that stay inside.

Checked when a job is submitted, and again by the worker: a job's record may have been written by anybody who
reaches Redis, and a producer may have been told less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.graph import check_graph
from comfy.graphs.links import class_of
from comfy.graphs.path_gate import check_paths
from comfy.graphs.required import node_classes
from farm.errors import InvalidJob, Problem

_NAMED: Final = 5  # of the classes that are refused


def admit(graph: Mapping[str, Any], allowed: str) -> None:
    """Pass a whole graph, as a worker is about to run it: its record may have been written by anybody.

    Args:
        allowed: as `FARM_ALLOWED_NODES` says it.

    Raises:
        GraphError: names every node that is not allowed, and every file name that could lead out; or it is
            no graph at all.
    """
    check_graph(graph)
    refused = set(refused_classes(node_classes(graph), allowed))
    problems = [
        GraphProblem(
            kind="node_not_allowed",
            message=f"this farm does not allow {class_of(graph, node_id)} (FARM_ALLOWED_NODES)",
            node_id=node_id,
            class_type=class_of(graph, node_id),
        )
        for node_id in graph
        if class_of(graph, node_id) in refused
    ]
    if problems:
        raise GraphError(problems[:_NAMED])
    check_paths(graph)


def check_classes(classes: Iterable[str], allowed: str) -> None:
    """Pass the classes that a job needs, as its producer asks for it.

    Raises:
        InvalidJob: names those that the deployment does not allow.
    """
    if refused := refused_classes(classes, allowed):
        named = ", ".join(refused[:_NAMED])
        message = f"this farm does not allow {named} (FARM_ALLOWED_NODES)"
        raise InvalidJob([Problem(field="graph", message=message)])


def refused_classes(classes: Iterable[str], allowed: str) -> tuple[str, ...]:
    """Those of these classes that a deployment does not allow; none where it allows all."""
    return _refused(tuple(classes), allowed) if allowed.strip() else ()


@lru_cache(maxsize=256)
def _refused(classes: tuple[str, ...], allowed: str) -> tuple[str, ...]:
    patterns = [pattern.strip() for pattern in allowed.split(",") if pattern.strip()]
    return tuple(name for name in classes if not any(fnmatchcase(name, each) for each in patterns))
