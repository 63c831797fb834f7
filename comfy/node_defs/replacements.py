"""Node classes that moved: what a server renames in a prompt before it looks at it.

The graph that runs, and stands in the history, is the renamed one.

Source: ComfyUI ``app/node_replace_manager.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from comfy.generations import Generation
from comfy.node_defs.definitions import Definitions

_FILE: Final = Path(__file__).parent / "replacements.json"

Replacements = Mapping[
    str, list[dict[str, Any]]
]  # old class -> what may stand in its place, the first counts


def replacements_of(generation: Generation) -> Replacements:
    """The body of ``GET /node_replacements``; empty where nothing is replaced."""
    return _shipped() if generation.replaces_nodes else {}


@cache
def _shipped() -> Replacements:
    found: Replacements = json.loads(_FILE.read_text(encoding="utf-8"))["replacements"]
    return found


def replace_nodes(
    graph: Mapping[Any, Any], definitions: Definitions, generation: Generation
) -> Mapping[Any, Any] | None:
    """The graph as the server will check and run it; None when it stumbles over the graph (a 500).

    It does over a node that is a number or null, over inputs that are no object, and over a class to replace
    whose node has no ``_meta`` or lacks an input that the new class needs.
    """
    known = replacements_of(generation)
    if not known:
        return graph
    try:
        moved = [node_id for node_id, node in graph.items() if _has_moved(node, definitions, known)]
        if not moved:
            return graph
        renamed = {node_id: _renamed(graph[node_id], known) for node_id in moved}
    except (KeyError, TypeError, AttributeError):
        return None
    return {**graph, **renamed}


def _has_moved(node: Any, definitions: Definitions, known: Replacements) -> bool:
    if "class_type" not in node or "inputs" not in node:
        return False
    node["inputs"].items()  # what has none is what the server stumbles over
    class_type = node["class_type"]
    return (
        class_type not in definitions
        and class_type in known
        and known[class_type][0]["new_node_id"] in definitions
    )


def _renamed(node: Mapping[str, Any], known: Replacements) -> dict[str, Any]:
    change = known[node["class_type"]][0]
    inputs: dict[str, Any] = {}
    for each in change["input_mapping"] or ():
        inputs[each["new_id"]] = each["set_value"] if "set_value" in each else node["inputs"][each["old_id"]]
    return {**node, "class_type": change["new_node_id"], "inputs": inputs, "_meta": node["_meta"].copy()}
