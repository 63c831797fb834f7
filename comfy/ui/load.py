"""One reader for both of ComfyUI's file formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfy.graphs.graph import Loaded, load_noted, read_json
from comfy.graphs.wrapping import unwrapped
from comfy.node_defs.definitions import Definitions
from comfy.ui.document import is_workflow


def may_be_workflow(source: str | bytes | Mapping[str, Any]) -> bool:
    """Whether the source could be a workflow as the editor saves it; False is certain."""
    if isinstance(source, bytes):
        return b'"nodes"' in source
    return '"nodes"' in source if isinstance(source, str) else is_workflow(unwrapped(source)[0])


def load_any(source: str | bytes | Mapping[str, Any], definitions: Callable[[], Definitions]) -> Loaded:
    """Read a graph of either format, checked, as a copy that shares nothing with the source.

    Args:
        definitions: asked only for a workflow as the editor saves it, to name its widget values.

    Raises:
        GraphError: it is neither; or the workflow holds a node of which neither file nor definitions tell.
    """
    if not may_be_workflow(source):
        return load_noted(source)
    raw, around = unwrapped(source if isinstance(source, Mapping) else read_json(source))
    if not is_workflow(raw):
        return load_noted(source)
    from comfy.ui.convert import convert  # most graphs come in API format, and need none of it

    made = convert(raw, definitions())
    loaded = load_noted(made.graph)
    return Loaded(graph=loaded.graph, notes=(*around, *made.notes, *loaded.notes), left_out=made.left_out)
