"""The corpus of people's files (`tests/tools/corpus.py` makes it), with what is right of each."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from comfy.graphs.links import is_link

DATA: Final = Path(__file__).parents[1] / "data"


@cache
def facts() -> dict[str, dict[str, Any]]:
    """By file: its kind, the graph that it was made from, and what that makes."""
    found: dict[str, dict[str, Any]] = json.loads((DATA / "corpus_facts.json").read_bytes())
    return found


def content(name: str) -> bytes:
    """A file as it would be given."""
    return (DATA / "corpus" / f"{name}.json").read_bytes()


@cache
def exports() -> dict[str, dict[str, Any]]:
    """What ComfyUI's own front end exports of each editor's file."""
    found: dict[str, dict[str, Any]] = json.loads((DATA / "corpus_truth.json").read_bytes())
    return found


def right(name: str) -> dict[str, Any]:
    """The graph that a file stands for."""
    base = facts()[name]["base"]
    if not facts()[name]["is_base"]:
        return exports()[name]
    if b'"nodes"' in content(name):
        return exports()[f"plain_newer_{base}"]
    return dict(json.loads((DATA / "graphs" / f"{base}.json").read_bytes()))


def bare(graph: dict[str, Any]) -> dict[str, Any]:
    """Classes and inputs, without the senders of Use Everywhere: these do nothing on a server."""
    return {
        node_id: (node["class_type"], node["inputs"])
        for node_id, node in graph.items()
        if "Everywhere" not in node["class_type"]
    }


def is_right(name: str, graph: dict[str, Any]) -> bool:
    """Whether a file became the graph that it stands for: the nodes of a group have other ids there."""
    if facts()[name]["kind"] == "group":
        return shape_of(graph) == shape_of(right(name))
    return bare(graph) == bare(right(name))


def _whole(value: Any) -> Any:
    """JavaScript writes 5.0 as 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shape_of(graph: dict[str, Any]) -> str:
    """The same for graphs that differ in nothing but the ids of their nodes: 64 hex digits."""
    known: dict[str, str] = {}

    def of(node_id: str) -> str:
        if node_id not in known:
            node = graph[node_id]
            inputs = {
                name: [of(value[0]), value[1]] if is_link(value) and value[0] in graph else _whole(value)
                for name, value in node["inputs"].items()
            }
            text = json.dumps([node["class_type"], inputs], sort_keys=True)
            known[node_id] = hashlib.sha256(text.encode()).hexdigest()
        return known[node_id]

    return hashlib.sha256("".join(sorted(map(of, graph))).encode()).hexdigest()


@cache
def official_shapes() -> dict[str, str]:
    """Of each official WAN workflow, the shape of what the front end exports."""
    found: dict[str, str] = json.loads((DATA / "official_shapes.json").read_bytes())
    return found
