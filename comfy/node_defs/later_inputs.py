"""Required inputs that a node got later: a graph saved before lacks them, and the server refuses it.

Only what an older form of the node did without is filled in, and only with the server's own default: an
input that was always required is missing because somebody forgot it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy.generations import GENERATIONS
from comfy.node_defs.definitions import Definitions, NodeDef, Section, forms_of, shipped_definitions
from comfy.node_defs.dynamic_inputs import inputs_for


def later_inputs(node: NodeDef, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a node of an older graph lacks, with the defaults of the definition at hand."""
    missing = {
        each.name: each.default
        for each in inputs_for(node, given)
        if each.section is Section.REQUIRED and each.name not in given and each.default is not None
    }
    if not missing:
        return {}
    elders = [{each.name for each in inputs_for(elder, given)} for elder in earlier_forms(node.class_type)]
    return {name: value for name, value in missing.items() if any(name not in names for names in elders)}


def with_later_inputs(graph: Mapping[str, Any], definitions: Definitions) -> Mapping[str, Any]:
    """A checked graph as a worker with these definitions will run it."""
    found = {
        node_id: later
        for node_id, node in graph.items()
        if (known := definitions.get(node["class_type"])) is not None
        and (later := later_inputs(known, node["inputs"]))
    }
    if not found:
        return graph
    return {
        node_id: {**node, "inputs": {**node["inputs"], **found[node_id]}} if node_id in found else node
        for node_id, node in graph.items()
    }


def earlier_forms(class_type: str) -> list[NodeDef]:
    """Every form that is known of a class, of ComfyUI's generations and of packs' versions."""
    generations = [shipped_definitions(generation).get(class_type) for generation in GENERATIONS]
    return [*(found for found in generations if found is not None), *forms_of(class_type)]
