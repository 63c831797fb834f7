"""The order in which a graph's nodes run, and what of an earlier run can be used again.

Source: ComfyUI ``comfy_execution/graph.py`` (``ExecutionList``) and ``comfy_execution/caching.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from comfy.node_defs.definitions import Definitions

Graph = Mapping[str, Mapping[str, Any]]


def links(node: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The links into a node: input name, id of the other node, its output slot."""
    inputs = node.get("inputs")
    if not isinstance(inputs, Mapping):
        return []
    return [(name, value[0], value[1]) for name, value in inputs.items() if is_link(value)]


def is_link(value: Any) -> bool:
    """Whether an input's value is a link to another node."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


class Schedule:
    """Which node runs next; begins with the outputs and what they need, less what is cached."""

    def __init__(
        self, graph: Graph, outputs: Collection[str], definitions: Definitions, cached: Collection[str]
    ) -> None:
        self._graph = graph
        self._definitions = definitions
        self._waits_for: dict[str, set[str]] = {}
        self._blocks: dict[str, list[str]] = {}
        for output in outputs:
            self._add(output, cached)

    def _add(self, root: str, cached: Collection[str]) -> None:
        found = [root]
        added: list[str] = []
        while found:
            node_id = found.pop()
            if node_id in self._waits_for:
                continue
            self._waits_for[node_id] = set()
            self._blocks[node_id] = []
            added.append(node_id)
            found.extend(other for _, other, _ in links(self._graph[node_id]) if other not in cached)
        for node_id in added:
            for _, other, _ in links(self._graph[node_id]):
                if other not in cached and other not in self._waits_for[node_id]:
                    self._waits_for[node_id].add(other)
                    self._blocks[other].append(node_id)

    def pick(self) -> str | None:
        """The node to run next; None when all are done.

        Outputs first, then what leads to one in one or two steps: a person who watches sees results early.
        """
        ready = [node_id for node_id, needed in self._waits_for.items() if not needed]
        for distance in range(3):
            for node_id in ready:
                if self._leads_to_output(node_id, distance):
                    return node_id
        return ready[0] if ready else None

    def done(self, node_id: str) -> None:
        """The node has run."""
        del self._waits_for[node_id]
        for other in self._blocks.pop(node_id):
            self._waits_for[other].discard(node_id)

    def _leads_to_output(self, node_id: str, distance: int) -> bool:
        if distance == 0:
            return self._definitions[self._graph[node_id]["class_type"]].output_node
        return any(self._leads_to_output(other, distance - 1) for other in self._blocks[node_id])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What a node left behind."""

    outputs: tuple[Any, ...]
    ui: dict[str, Any] | None = None  # what the node had to show


class Caching(StrEnum):
    """Which results are kept for a later prompt."""

    NOTHING = "nothing"  # --cache-none
    LAST_PROMPT = "last_prompt"
    ALL_PROMPTS = "all_prompts"  # as long as there is RAM


class NodeCache:
    """What nodes gave, by what they were given."""

    def __init__(self, caching: Caching) -> None:
        self._caching = caching
        self._kept: dict[str, Cached] = {}
        self._keys: dict[str, str] = {}

    def begin(self, graph: Graph, changed: Callable[[str, Mapping[str, Any]], Any]) -> None:
        """Work out the keys of a new prompt, and drop what is not kept for it.

        Args:
            changed: for a node id and its node, what else its result depends on (a file's content).
        """
        self._keys = signatures(graph, changed)
        match self._caching:
            case Caching.NOTHING:
                self._kept.clear()
            case Caching.LAST_PROMPT:
                wanted = set(self._keys.values())
                self._kept = {key: value for key, value in self._kept.items() if key in wanted}
            case Caching.ALL_PROMPTS:
                pass

    def get(self, node_id: str) -> Cached | None:
        """What the node would give again, if that is known."""
        key = self._keys.get(node_id)
        return self._kept.get(key) if key is not None else None

    def put(self, node_id: str, value: Cached) -> None:
        """Keep what a node gave."""
        key = self._keys.get(node_id)
        if key is not None:
            self._kept[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def signatures(graph: Graph, changed: Callable[[str, Mapping[str, Any]], Any]) -> dict[str, str]:
    """For each node, a digest of its class, its inputs and all it depends on.

    A node that is part of a circle or hangs on one has none: it cannot be needed by an output that runs.
    """
    result: dict[str, str] = {}
    waiting = {node_id: {other for _, other, _ in links(node)} for node_id, node in graph.items()}
    dependents: dict[str, list[str]] = {}
    for node_id, needed in waiting.items():
        for other in needed:
            dependents.setdefault(other, []).append(node_id)
    ready = [node_id for node_id, needed in waiting.items() if not needed]
    while ready:
        node_id = ready.pop()
        result[node_id] = _signature(graph[node_id], result, changed(node_id, graph[node_id]))
        for other in dependents.get(node_id, ()):
            waiting[other].discard(node_id)
            if not waiting[other]:
                ready.append(other)
    return result


def _signature(node: Mapping[str, Any], known: Mapping[str, str], extra: Any) -> str:
    given = node.get("inputs")
    inputs: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    parts: list[Any] = [node.get("class_type"), extra]
    for name, value in sorted(inputs.items()):
        parts.append([name, "link", known[value[0]], value[1]] if is_link(value) else [name, "value", value])
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
