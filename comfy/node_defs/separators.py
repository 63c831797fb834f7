r"""Names of files with another system's separators: ``Wan\x.safetensors`` where a server has ``Wan/x``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy.node_defs.definitions import Definitions, NodeDef


def respelled(node: NodeDef, given: Mapping[str, Any]) -> dict[str, str]:
    """The choices that a node offers for what it is given, where only the separators differ."""
    found = {}
    for name, value in given.items():
        if not isinstance(value, str) or not ("\\" in value or "/" in value):
            continue
        wanted = node.input(name)
        if wanted is None or wanted.choices is None or value in wanted.choices:
            continue
        plain = value.replace("\\", "/")
        same = [each for each in wanted.choices if isinstance(each, str) and each.replace("\\", "/") == plain]
        if len(same) == 1:
            found[name] = same[0]
    return found


def with_own_separators(graph: Mapping[str, Any], definitions: Definitions) -> Mapping[str, Any]:
    """A checked graph as a worker with these definitions will run it."""
    found = {
        node_id: names
        for node_id, node in graph.items()
        if (known := definitions.get(node["class_type"])) is not None
        and (names := respelled(known, node["inputs"]))
    }
    if not found:
        return graph
    return {
        node_id: {**node, "inputs": {**node["inputs"], **found.get(node_id, {})}}
        for node_id, node in graph.items()
    }
