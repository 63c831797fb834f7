"""Graphs on their way into jobs: read, checked and measured once, however many jobs are made of one.

A producer submits thousands of jobs that differ in a seed and a prompt. Reading and checking the graph
anew for each of them would cost a millisecond; here the same content is read once. What is remembered
is keyed by content, never by identity: a graph that its owner has changed is another graph.

The graphs given out share their nodes. They are for reading: a job's spec never changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from comfy.errors import GraphProblem
from comfy.graphs.graph import MAX_NODES, Graph, LeftOut, Loaded, find_input, load_noted, set_inputs
from comfy.graphs.image import content_of, graph_of, image_of, image_of_graph, is_small
from comfy.graphs.path_gate import path_problems
from comfy.graphs.plain_json import NotPlain, plain
from comfy.graphs.required import model_files, node_classes, output_nodes
from comfy.node_defs.definitions import Definitions, shipped_definitions
from comfy.ui.load import load_any, may_be_workflow
from comfy.wan.find import describe
from comfy.wan.roles import Roles, find_roles
from comfy.wan.workload import smallest_vram_class_gib
from farm.job import ModelFile

# Inputs (and parameters of templates) that no fact depends on.
_WITHOUT_EFFECT: Final = frozenset({"text", "seed", "noise_seed", "prompt", "negative"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """What a graph is and needs, as far as it can be told without a server."""

    makes: str  # "WAN 2.2 T2V A14B 832×480 81f 20 steps"
    node_classes: tuple[str, ...]
    models: tuple[ModelFile, ...]
    vram_gib: int | None  # smallest VRAM class; None when it names no WAN model that we know
    outside: tuple[GraphProblem, ...]  # file names that could lead out of ComfyUI's folders
    saves: bool  # False: none of its nodes makes a file, for certain


Knowledge = Callable[[], Definitions]  # asked only for a workflow as ComfyUI's editor saves it


@functools.cache
def known_without_a_fleet() -> Definitions:
    """The node definitions that ship with the farm; the same object each time."""
    return shipped_definitions()


def read_graph(source: Mapping[str, Any] | bytes, known: Knowledge = known_without_a_fleet) -> Graph:
    """`comfy.ui.load.load_any`, remembered: a graph of either of ComfyUI's formats.

    Args:
        known: what is known of nodes; asked only for a workflow as the editor saves it.

    Raises:
        GraphError: it is no graph; `problems` name every node and input at fault.
    """
    return read_with_key(source, known).graph


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGraph:
    """A graph as it was read."""

    graph: Graph
    key: bytes | None  # what stands for its content; None for a graph too large to be remembered
    notes: tuple[str, ...]  # what was taken otherwise than it stands, in words
    left_out: tuple[LeftOut, ...] = ()  # nodes of an editor's file that are muted or bypassed


def read_with_key(source: Mapping[str, Any] | bytes, known: Knowledge = known_without_a_fleet) -> ReadGraph:
    """As `read_graph`, with what is worth to know of it.

    Raises:
        GraphError: as `read_graph`.
    """
    if may_be_workflow(source):
        found = _read_either(source, known)
        return ReadGraph(
            graph=found.graph, key=image_of(found.graph), notes=found.notes, left_out=found.left_out
        )
    key: bytes | None
    if isinstance(source, bytes):
        key = source if is_small(source) else None
        found = load_noted(source) if key is None else _read_text(key)
    else:
        key = None if len(source) > MAX_NODES else image_of(source)
        found = load_noted(source) if key is None else _read_image(key)
    return ReadGraph(graph=found.graph, key=key, notes=found.notes)


def _read_either(source: Mapping[str, Any] | bytes, known: Knowledge) -> Loaded:
    text = source if isinstance(source, bytes) else image_of(source)
    if text is None or not is_small(text):
        return load_any(source, known)
    return _read_workflow(text, isinstance(source, bytes), _Known(known()))


class _Known:
    """Node definitions that are equal only to themselves: comparing a thousand nodes would take too long."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and other.definitions is self.definitions

    def __hash__(self) -> int:
        return id(self.definitions)


@functools.lru_cache(maxsize=16)
def _read_workflow(content: bytes, is_text: bool, known: _Known) -> Loaded:
    source = content if is_text else content_of(content)
    return load_any(source, lambda: known.definitions)


@functools.lru_cache(maxsize=64)
def _read_text(text: bytes) -> Loaded:
    return load_noted(text)


@functools.lru_cache(maxsize=64)
def _read_image(image: bytes) -> Loaded:
    return load_noted(content_of(image))


def with_values(graph: Graph, values: Mapping[str, Any]) -> Graph:
    """`comfy.graphs.graph.set_inputs`, copying only the nodes that change.

    Raises:
        GraphError: with a problem for every "node.input" that is wrong.
    """
    changed = dict(graph)
    for input_path, value in values.items():
        found = find_input(graph, input_path)
        # A list may be a link, which can close a circle: that is for the whole check.
        if found is None or isinstance(value, list | tuple | Mapping):
            return set_inputs(graph, values)
        node_id, name = found
        try:
            inputs = {**changed[node_id]["inputs"], name: plain(value)}
        except NotPlain:
            return set_inputs(graph, values)
        changed[node_id] = {**changed[node_id], "inputs": inputs}
    return changed


def facts_of(graph: Graph, key: Hashable = None) -> GraphFacts:
    """The facts of a checked graph, remembered: computing them takes a millisecond.

    Args:
        key: what stands for the graph but for texts and seeds, where it is known already; see `effective`.
    """
    if key is not None:
        return _facts_of_keyed(_Keyed(key=key, graph=graph))
    image = image_of_graph(graph, _bare)
    return _find_facts(graph) if image is None else _facts_of_image(image)


def roles_of(graph: Graph, key: Hashable = None) -> Roles:
    """What the nodes of a checked graph are for, remembered.

    Args:
        key: what stands for the graph, where it is known already; see `effective`.
    """
    if key is None:
        return find_roles(graph, shipped_definitions())
    return _roles_of_keyed(_Keyed(key=key, graph=graph))


def effective(parameters: Mapping[str, Any]) -> Hashable:
    """The parameters on which a graph's facts may depend, as part of a key; None if they make none."""
    found = []
    for input_path, value in parameters.items():
        if not isinstance(value, str | int | float | None):
            return None
        if input_path.rpartition(".")[2] not in _WITHOUT_EFFECT:
            # The type counts: 20, 20.0 and True are equal to Python and not to ComfyUI.
            found.append((input_path, type(value), value))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keyed:
    """A graph that is known by its key: equal keys, equal facts."""

    key: Hashable
    graph: Graph = field(compare=False)


@functools.lru_cache(maxsize=512)
def _facts_of_keyed(keyed: _Keyed) -> GraphFacts:
    return _find_facts(keyed.graph)


@functools.lru_cache(maxsize=64)
def _roles_of_keyed(keyed: _Keyed) -> Roles:
    return find_roles(keyed.graph, shipped_definitions())


def _bare(node: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Class and inputs without what makes no difference; links stay, because what they lead to runs."""
    inputs: dict[str, Any] = node["inputs"]
    if _WITHOUT_EFFECT.isdisjoint(inputs):
        return node["class_type"], inputs
    kept = {
        name: value
        for name, value in inputs.items()
        if name not in _WITHOUT_EFFECT or isinstance(value, list)
    }
    return node["class_type"], kept


@functools.lru_cache(maxsize=512)
def _facts_of_image(image: bytes) -> GraphFacts:
    return _find_facts(graph_of(image))


def _find_facts(graph: Graph) -> GraphFacts:
    models = dict.fromkeys(ModelFile(folder=file.folder, name=file.path) for file in model_files(graph))
    return GraphFacts(
        makes=describe(graph),
        node_classes=node_classes(graph),
        models=tuple(models),
        vram_gib=smallest_vram_class_gib(graph),
        outside=path_problems(graph),
        saves=_may_save(graph),
    )


def _may_save(graph: Graph) -> bool:
    """False only when every class is known and none is an output: a custom node may be one."""
    if output_nodes(graph):
        return True
    known = known_without_a_fleet()
    found = [known.get(node["class_type"]) for node in graph.values()]
    return any(node is None or node.output_node for node in found)
