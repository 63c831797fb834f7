"""A graph out of what people keep it in: a request's body around it, remarks beside its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.faults import is_editor_file, shorten

_DEEPEST: Final = 4  # wrappers within each other: {"input": {"workflow": …}} is two
_MOST_NAMED: Final = 5  # of what was left out
_BODY: Final = "prompt"  # what ComfyUI's own request calls it
# Source: ComfyUI ``execution.py``, ``IsChangedCache``: written into the prompt, NaN among others.
_SERVERS_MARK: Final = "is_changed"

_Test = Callable[[Mapping[Any, Any]], bool]


def unwrapped(raw: Any) -> tuple[Any, tuple[str, ...]]:
    """The graph or the workflow that is in `raw`, and in words what was around it; else `raw` as it is.

    Raises:
        GraphError: several graphs are in it.
    """
    if not isinstance(raw, Mapping) or _is_graph(raw) or is_editor_file(raw):
        return raw, ()
    paths = list(_ways_in(raw, (), _is_graph)) or list(_ways_in(raw, (), is_editor_file))
    if not paths:
        inner = raw.get(_BODY)  # an empty one, say: it is a graph by where it stands
        return (inner if isinstance(inner, Mapping) else raw), ()
    if len(paths) > 1:
        named = ", ".join(".".join(map(shorten, path)) for path in paths[:_MOST_NAMED])
        message = f"several graphs are in this file: {named}; give one of them alone"
        raise GraphError([GraphProblem(kind="several_graphs", message=message)])
    content: Any = raw
    for key in paths[0]:
        content = content[key]
    beside = [key for key in raw if key != paths[0][0]]
    left = f"; left out what stands beside it: {_named(beside)}" if beside else ""
    return content, (f"taken out of {'.'.join(map(shorten, paths[0]))}{left}",)


def without_remarks(graph: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], tuple[str, ...]]:
    """The nodes alone, and in words what stood beside them; marks that ComfyUI put on nodes are dropped.

    Where nothing is a node, all of it stays: then it is no graph at all, and is told as such.
    """
    if not _is_graph(graph):
        return graph, ()
    remarks = [key for key, value in graph.items() if isinstance(key, str) and _is_remark(value)]
    marked = any(isinstance(node, Mapping) and _SERVERS_MARK in node for node in graph.values())
    if not remarks and not marked:
        return graph, ()
    kept = {key: _unmarked(value) for key, value in graph.items() if key not in remarks}
    notes = (f"left out what is no node: {_named(remarks)}",) if remarks else ()
    return kept, notes


def _unmarked(node: Any) -> Any:
    if not isinstance(node, Mapping) or _SERVERS_MARK not in node:
        return node
    return {key: value for key, value in node.items() if key != _SERVERS_MARK}


def _is_graph(raw: Mapping[Any, Any]) -> bool:
    return any(isinstance(node, Mapping) and "class_type" in node for node in raw.values())


def _is_remark(value: Any) -> bool:
    return not isinstance(value, Mapping) or ("class_type" not in value and "inputs" not in value)


def _ways_in(raw: Mapping[Any, Any], path: tuple[str, ...], wanted: _Test) -> Iterator[tuple[str, ...]]:
    """The keys that lead to each graph."""
    for key, value in raw.items():
        if not isinstance(value, Mapping) or not isinstance(key, str):
            continue
        if wanted(value):
            yield (*path, key)
        elif len(path) + 1 < _DEEPEST:
            yield from _ways_in(value, (*path, key), wanted)


def _named(keys: list[Any]) -> str:
    named = ", ".join(shorten(str(key)) for key in keys[:_MOST_NAMED])
    return f"{named} and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else named
