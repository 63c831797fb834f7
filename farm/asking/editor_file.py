"""The editor's own file beside the graph that was made of it, for nodes that read it while they run."""

from __future__ import annotations

from typing import Any, Final

from comfy.graphs.graph import Graph, read_json
from comfy.graphs.links import class_of
from comfy.graphs.wrapping import unwrapped
from comfy.node_defs.definitions import Definitions
from comfy.ui.document import is_workflow
from comfy.ui.load import may_be_workflow
from farm.asking.building import GraphSource, read_source
from farm.asking.graphs import Knowledge

_HIDDEN: Final = "EXTRA_PNGINFO"


def is_from_editor(source: GraphSource | None) -> bool:
    """Whether a request's graph may be a file as the editor saves it; False is certain.

    Raises:
        InvalidJob: the file cannot be read.
    """
    return source is not None and may_be_workflow(read_source(source))


def editor_file(
    source: GraphSource | None, graph: Graph, known: Knowledge, *, wanted: bool
) -> dict[str, Any] | None:
    """What the editor saved, where a job has use for it; else None: it is ten times as long as the graph.

    Nodes that save take it only to write it into their files. Others, such as KJNodes' WidgetToString, look
    up in it what the editor showed.

    Args:
        graph: that was made of it.
        wanted: the job keeps metadata in its files.
    """
    content = read_source(source)
    if not may_be_workflow(content):
        return None
    if not wanted and not _is_read(graph, known()):
        return None
    raw, _ = unwrapped(read_json(content) if isinstance(content, bytes) else content)
    return dict(raw) if is_workflow(raw) else None


def _is_read(graph: Graph, definitions: Definitions) -> bool:
    classes = {class_of(graph, node_id) or "" for node_id in graph}
    found = (definitions[each] for each in classes if each in definitions)
    return any(not each.output_node and any(given.kind == _HIDDEN for given in each.inputs) for each in found)
