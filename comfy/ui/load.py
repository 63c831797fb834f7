"""One reader for both of ComfyUI's file formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfy.graphs.graph import (
    Graph,
    load_graph,
    read_json,
)
from comfy.node_defs.definitions import Definitions
from comfy.ui.convert import convert
from comfy.ui.document import is_workflow


def may_be_workflow(source: str | bytes | Mapping[str, Any]) -> bool:
    """Whether the source could be a workflow as the editor saves it; False is certain."""
    if isinstance(source, bytes):
        return b'"nodes"' in source
    return '"nodes"' in source if isinstance(source, str) else is_workflow(source)


def load_any(source: str | bytes | Mapping[str, Any], definitions: Callable[[], Definitions]) -> Graph:
    """Read a graph of either format, checked, as a copy that shares nothing with the source.

    Args:
        definitions: asked only for a workflow as the editor saves it, to name its widget values.

    Raises:
        GraphError: it is neither; or the workflow holds a node that the definitions do not have.
    """
    if not may_be_workflow(source):
        return load_graph(source)
    raw = source if isinstance(source, Mapping) else read_json(source)
    return load_graph(convert(raw, definitions()) if is_workflow(raw) else raw)
