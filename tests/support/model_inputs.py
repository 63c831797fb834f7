"""Which inputs of the shipped nodes choose from what a machine has."""

from __future__ import annotations

from functools import cache

from comfy.generations import NEWEST
from comfy.node_defs.definitions import parse_node
from comfy.node_defs.snapshot import NEWER_CORE, shipped_nodes, sources_of


@cache
def model_inputs() -> dict[tuple[str, str], tuple[str, ...]]:
    """(class, input) -> folders below ComfyUI's models/; ``devices`` and ``unknown`` are none of them."""
    return {
        (class_type, each.name): sources
        for class_type, info in shipped_nodes((*NEWEST.core_facts, NEWER_CORE)).items()
        for each in parse_node(class_type, info).inputs
        if (sources := sources_of(each.choices))
    }
