"""What can be wrong with the form of a graph: one kind and one sentence for each fault, whoever finds it.

Texts from a graph are shortened: they may be of any length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from comfy.errors import GraphProblem

NO_NODES: Final = "the graph has no nodes; add some, and one that saves, such as SaveVideo"
NO_INPUTS: Final = 'the node has no "inputs"; add them, if only as {}'

EXPORT: Final = "export it in ComfyUI with Workflow > Export (API)"

_LONGEST_SHOWN: Final = 80
_SHOWN_OF_CYCLE: Final = 8


def shorten(value: Any) -> str:
    """`value` as text that fits a line."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def kind_in_json(found: object) -> str:
    """What a value is, in JSON's own words."""
    words: dict[type, str] = {bool: "true or false", str: "a text", dict: "an object", list: "a list"}
    words |= {int: "a number", float: "a number", tuple: "a list"}
    return "null" if found is None else words.get(type(found), f"a {type(found).__name__}")


def not_a_graph(found: object) -> GraphProblem:
    """For what is no JSON object."""
    message = f"a graph is a JSON object of nodes, this is {kind_in_json(found)}; {EXPORT}"
    return GraphProblem(kind="not_a_graph", message=message)


def duplicate_id(node_id: str) -> GraphProblem:
    """For two nodes under one id, of which every reader of JSON drops the first."""
    message = "two nodes have this id; give one of them another, and look where the links to it are to lead"
    return GraphProblem(kind="duplicate_id", message=message, node_id=shorten(node_id))


def is_editor_file(raw: Mapping[Any, Any]) -> bool:
    """Whether this is a workflow as ComfyUI's editor saves it."""
    return isinstance(raw.get("nodes"), list) and any(
        key in raw for key in ("links", "last_node_id", "version")
    )


def ui_format() -> GraphProblem:
    """For a workflow as ComfyUI's editor saves it, where only a graph will do."""
    message = (
        "this is a workflow as ComfyUI's editor saves it, not a graph that can run: comfy.ui.load.load_any "
        "converts it, and so does ComfyUI's menu Workflow > Export (API)"
    )
    return GraphProblem(kind="ui_format", message=message)


def id_not_text(node_id: object) -> GraphProblem:
    """For a node id that is a number or something else."""
    message = f"a node's id is text, this is {shorten(node_id)}; write it in quotes"
    return GraphProblem(kind="id_not_text", message=message, node_id=shorten(str(node_id)))


def node_not_object(node_id: str, node: object) -> GraphProblem:
    """For an entry that is no node."""
    message = f"a node is an object with class_type and inputs, this is {shorten(node)}"
    return GraphProblem(kind="node_not_object", message=message, node_id=node_id)


def missing_class_type(node_id: str | None) -> GraphProblem:
    """For a node that does not say what it is."""
    message = "the node has no class_type; name the kind of node it is"
    return GraphProblem(kind="missing_class_type", message=message, node_id=node_id)


def missing_node_type(node_id: str | None, class_type: object, near: str | None = None) -> GraphProblem:
    """For a class that the server does not have; `near`: one that it has and that looks like it."""
    hint = f'Did you mean "{near}"?' if near else "Is the custom node that brings it installed on the worker?"
    return GraphProblem(
        kind="missing_node_type",
        message=f'there is no node class "{shorten(class_type)}". {hint}',
        node_id=node_id,
        class_type=class_type if isinstance(class_type, str) else None,
    )


def link_to_nowhere(source_id: str) -> str:
    """Of a link to a node that is not there."""
    return f"the link leads to node {shorten(source_id)}, which is not in the graph"


def no_link(value: object) -> str:
    """Of a list that is meant as a link."""
    return f'a link must be ["node id", output number], counted from 0; this is {shorten(value)}'


def cycle(ring: Sequence[str], class_type: str | None) -> GraphProblem:
    """For nodes that wait for each other; the class is that of the first of `ring`, which has each once."""
    path = [*ring, ring[0]]
    shown = path if len(path) <= _SHOWN_OF_CYCLE else [*path[:4], "…", *path[-3:]]
    count = f", {len(ring)} nodes" if len(path) > _SHOWN_OF_CYCLE else ""
    message = (
        f"the nodes wait for each other in a circle ({' → '.join(map(shorten, shown))}{count}); "
        "remove one of these links"
    )
    return GraphProblem(kind="cycle", message=message, node_id=ring[0], class_type=class_type)
