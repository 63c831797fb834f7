"""Every template as the editor opens it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from comfy.graphs.graph import Graph
from comfy.graphs.links import inputs_of
from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.draw import draw
from comfy.wan.templates import TEMPLATES
from farm.asking.prepare import build
from farm.asking.request import JobRequest


@functools.cache
def drawn_templates() -> Mapping[str, tuple[Graph, dict[str, Any]]]:
    """Name -> its graph, and the workflow that was drawn of it."""
    known = shipped_definitions()
    graphs = {
        name: build(JobRequest(template=name, parameters={each: f"({each})" for each in _needed(name)})).graph
        for name in TEMPLATES
    }
    return {name: (graph, draw(graph, known)) for name, graph in graphs.items()}


def without_titles(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes by what they are and take."""
    return {
        node_id: {"class_type": node["class_type"], "inputs": node["inputs"]}
        for node_id, node in graph.items()
    }


def as_far_as_it_went(graph: Mapping[str, Any], first: Graph) -> dict[str, Any]:
    """What a graph says of the inputs that an earlier one had: an editor writes those of newer nodes too."""
    return {
        node_id: {
            **node,
            "inputs": {n: v for n, v in node["inputs"].items() if n in inputs_of(first, node_id)},
        }
        for node_id, node in without_titles(graph).items()
    }


def _needed(name: str) -> list[str]:
    return [each.name for each in TEMPLATES[name].parameters if each.required]
