"""The API-format graph: read it, check it, follow its links, set its inputs on a copy.

A graph is ComfyUI's own JSON: node id -> ``{"class_type": str, "inputs": {name: literal or link}}``;
a link is ``[node id, output slot]``. What is checked here needs no server; names of nodes, choices and
ranges are checked by the ComfyUI that runs the graph.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

from comfy.errors import GraphError, GraphProblem
from comfy.graphs import faults
from comfy.graphs.links import (
    Link,
    ancestors,
    class_of,
    find_cycle,
    find_input,
    inputs_of,
    is_link,
    links,
    nodes_of_class,
)
from comfy.graphs.plain_json import NotPlain, exceeds, plain
from comfy.graphs.values import literal
from comfy.graphs.wrapping import unwrapped, without_remarks

__all__ = [
    "MAX_GRAPH_BYTES",
    "MAX_NODES",
    "Graph",
    "Link",
    "Loaded",
    "ancestors",
    "canonical_json",
    "check_graph",
    "class_of",
    "find_cycle",
    "find_input",
    "graph_sha256",
    "inputs_of",
    "is_link",
    "links",
    "literal",
    "load_graph",
    "load_noted",
    "near_names",
    "no_such_input",
    "nodes_of_class",
    "read_json",
    "set_input",
    "set_inputs",
]

Graph = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A node of an editor's file that the editor itself leaves out of the graph."""

    node_id: str
    class_type: str
    how: str  # "muted" or "bypassed"
    feeds: tuple[tuple[str, str], ...] = ()  # node and input of each link that leaves it in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A graph that was read and checked."""

    graph: Graph
    notes: tuple[str, ...]  # what was taken otherwise than it stands in the file, in words
    left_out: tuple[LeftOut, ...] = ()  # only of an editor's file


MAX_GRAPH_BYTES = 4 * 1024 * 1024
MAX_NODES = 2_000
MAX_INPUTS = 20_000  # of all nodes together; a WAN graph has some two hundred
MAX_NAME = 200  # characters of a node's id, class or input
_MOST_PROBLEMS = 20  # nobody reads more, and a graph made to hurt could have thousands


def load_graph(source: str | bytes | Mapping[str, Any]) -> Graph:
    """Read an API-format graph, checked, as a copy that shares nothing with the source.

    Raises:
        GraphError: it is no such graph; `problems` name every node and input at fault.
    """
    return load_noted(source).graph


def load_noted(source: str | bytes | Mapping[str, Any]) -> Loaded:
    """As `load_graph`, and what was taken otherwise than it stands: a wrapper around it, remarks in it.

    Raises:
        GraphError: as `load_graph`.
    """
    raw = read_json(source) if isinstance(source, str | bytes) else source
    raw, around = unwrapped(raw)
    if not isinstance(raw, Mapping):
        raise GraphError([faults.not_a_graph(raw)])
    if faults.is_editor_file(raw):
        raise GraphError([faults.ui_format()])
    raw, beside = without_remarks(raw)
    _check_counts(raw)
    # Before any of it is copied: objects may hold one text often.
    if not isinstance(source, str | bytes) and exceeds(raw, MAX_GRAPH_BYTES):
        _fail("too_large", f"the graph has more than {MAX_GRAPH_BYTES // 2**20} MiB, which is the limit")
    graph = _plain_graph(raw)
    check_graph(graph)
    if not isinstance(source, str | bytes) and len(canonical_json(graph)) > MAX_GRAPH_BYTES:
        _fail_size(len(canonical_json(graph)))
    return Loaded(graph=graph, notes=(*around, *beside))


def check_graph(graph: Mapping[str, Any]) -> None:
    """Check what can be checked without a server: form, links, cycles, number of nodes.

    Raises:
        GraphError: with one problem for each thing found.
    """
    if not graph:
        _fail("empty_graph", faults.NO_NODES)
    _check_counts(graph)
    found = (problem for node_id, node in graph.items() for problem in _node_problems(node_id, node))
    problems = list(islice(found, _MOST_PROBLEMS))
    if not problems:
        found = (problem for node_id in graph for problem in _link_problems(graph, node_id))
        problems = list(islice(found, _MOST_PROBLEMS))
    if not problems and (cycle := find_cycle(graph)):
        problems = [faults.cycle(cycle, class_of(graph, cycle[0]))]
    if problems:
        raise GraphError(problems)


def set_input(graph: Mapping[str, Any], input_path: str, value: Any) -> Graph:
    """Give a copy of the graph in which the input ``"node.input"`` has this value.

    Raises:
        GraphError: there is no such node or input, or the value is nothing that JSON can say.
    """
    return set_inputs(graph, {input_path: value})


def set_inputs(graph: Mapping[str, Any], values: Mapping[str, Any]) -> Graph:
    """Set several inputs at once on one copy; see `set_input`.

    Raises:
        GraphError: with a problem for every input path that is wrong, none of them written.
    """
    changed: Graph = copy.deepcopy(dict(graph))
    problems: list[GraphProblem] = []
    for input_path, value in values.items():
        found = find_input(graph, input_path)
        if found is None:
            problems.append(no_such_input(graph, input_path))
            if len(problems) == _MOST_PROBLEMS:
                break
            continue
        node_id, input_name = found
        try:
            changed[node_id]["inputs"][input_name] = plain(value)
        except NotPlain as exc:
            problems.append(_problem(exc.kind, str(exc), graph, node_id, input_name))
        if len(problems) == _MOST_PROBLEMS:
            break
    if problems:
        raise GraphError(problems)
    if any(isinstance(value, list | tuple) for value in values.values()):
        check_graph(changed)
    return changed


def canonical_json(graph: Mapping[str, Any]) -> bytes:
    """Write the graph so that equal graphs give equal bytes: sorted keys, no spaces, UTF-8."""
    text = json.dumps(graph, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def graph_sha256(graph: Mapping[str, Any]) -> str:
    """Give the hash of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(graph)).hexdigest()


def near_names(name: str, known: Iterable[str], *, limit: int = 5) -> list[str]:
    """Pick the known names that look most like this one; the first few when none does."""
    choices = [str(choice) for choice in known]
    name = name[:MAX_NAME]  # the time to compare grows with the square of the length
    # A path in front or another ending must not hide that the name itself is nearly right.
    close = difflib.get_close_matches(name, choices, n=limit, cutoff=0.5)
    return close or choices[:limit]


def read_json(source: str | bytes) -> Any:
    """Parse the text of a graph or a workflow.

    Raises:
        GraphError: it is too large, no JSON, or nested too deeply.
    """
    size = len(source.encode(errors="replace")) if isinstance(source, str) else len(source)
    if size > MAX_GRAPH_BYTES:
        _fail_size(size)
    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source.removeprefix("\ufeff")
        # NaN is read: whether it stands where it matters is seen later.
        return json.loads(text, object_pairs_hook=_without_doubles)
    except UnicodeDecodeError as exc:
        _fail("not_json", f"this is no JSON: it is not UTF-8 text ({exc.reason} at byte {exc.start})")
    except json.JSONDecodeError as exc:
        _fail("not_json", f"this is no JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}")
    except RecursionError:
        _fail("too_deep", "this JSON is nested too deeply to be a graph")
    except ValueError:
        _fail("not_json", "this JSON holds a number of thousands of digits, which is none for ComfyUI")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object as JSON's readers take it, the last of equal keys; but of two nodes neither is dropped."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, value in pairs:
            if key in seen and isinstance(value, dict) and "class_type" in value:
                raise GraphError([faults.duplicate_id(key)])
            seen.add(key)
    return found


def _plain_graph(raw: Mapping[Any, Any]) -> Graph:
    graph: Graph = {}
    problems = []
    for node_id, node in raw.items():
        if not isinstance(node_id, str):
            problems.append(faults.id_not_text(node_id))
            if len(problems) == _MOST_PROBLEMS:
                break
            continue
        try:
            plain(node_id)
            graph[node_id] = plain(node)
        except NotPlain as exc:
            input_name = exc.path[1] if len(exc.path) > 1 and exc.path[0] == "inputs" else None
            problems.append(_problem(exc.kind, str(exc), raw, node_id, input_name))
    if problems:
        raise GraphError(problems)
    return graph


def _node_problems(node_id: str, node: Any) -> Iterator[GraphProblem]:
    if not isinstance(node, dict):
        yield faults.node_not_object(node_id, node)
        return
    class_type = node.get("class_type")
    if not isinstance(class_type, str) or not class_type:
        yield faults.missing_class_type(node_id)
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        yield _problem("missing_inputs", faults.NO_INPUTS, {node_id: node}, node_id)
        return
    names = [node_id, class_type if isinstance(class_type, str) else "", *inputs]
    if longest := next((name for name in names if len(name) > MAX_NAME), None):
        message = f"a name of {len(longest)} characters ({longest[:20]}…), the limit is {MAX_NAME}"
        yield GraphProblem(kind="name_too_long", message=message, node_id=node_id[:MAX_NAME])


def _link_problems(graph: Mapping[str, Any], node_id: str) -> Iterator[GraphProblem]:
    for name, value in inputs_of(graph, node_id).items():
        if not isinstance(value, list) or not value:
            continue
        if is_link(value) and value[0] not in graph:
            yield _problem("link_to_missing_node", faults.link_to_nowhere(value[0]), graph, node_id, name)
        elif _is_bad_link(graph, value):
            yield _problem("bad_linked_input", faults.no_link(value), graph, node_id, name)


def _is_bad_link(graph: Mapping[str, Any], value: list[Any]) -> bool:
    """Whether a list is meant as a link and is none; any other list is a value."""
    source, *rest = value
    if is_link(value):
        return bool(rest[0] < 0)
    if isinstance(source, str) and len(rest) == 1 and isinstance(rest[0], bool | float):
        return True  # to ComfyUI it is one
    if isinstance(source, int):
        return len(rest) == 1 and str(source) in graph
    return isinstance(source, str) and source in graph and len(rest) != 1


def no_such_input(graph: Mapping[str, Any], input_path: str) -> GraphProblem:
    """Say what is wrong with a ``node.input`` that the graph does not have."""
    parts = input_path.split(".")
    cuts = [(".".join(parts[:cut]), ".".join(parts[cut:])) for cut in range(1, len(parts))]
    known = [(node_id, name) for node_id, name in cuts if node_id in graph]
    if known:
        node_id, name = known[0]
        message = f"there is no such input; the node has {_listed(inputs_of(graph, node_id), like=name)}"
        return _problem("unknown_input", message, graph, node_id, name)
    if len(parts) == 1:
        message = f'"{input_path}" names no input: write node.input, for example 6.text'
        return GraphProblem(kind="unknown_input", message=message)
    nodes = ", ".join(f"{near} ({class_of(graph, near)})" for near in near_names(parts[0], graph, limit=8))
    message = f"there is no node {parts[0]} in the graph; it has {nodes}{', …' if len(graph) > 8 else ''}"
    return GraphProblem(
        kind="unknown_node", message=message, node_id=parts[0], input_name=".".join(parts[1:])
    )


def _listed(names: Iterable[str], *, like: str) -> str:
    return ", ".join(near_names(like, names, limit=12)) or "no inputs"


def _problem(
    kind: str, message: str, graph: Mapping[str, Any], node_id: str, input_name: str | None = None
) -> GraphProblem:
    return GraphProblem(
        kind=kind,
        message=message,
        node_id=node_id,
        class_type=class_of(graph, node_id),
        input_name=input_name,
    )


def _check_counts(raw: Mapping[Any, Any]) -> None:
    if len(raw) > MAX_NODES:
        _fail("too_many_nodes", f"the graph has {len(raw)} nodes, the limit is {MAX_NODES}")
    given = (node.get("inputs") for node in raw.values() if isinstance(node, Mapping))
    count = sum(len(inputs) for inputs in given if isinstance(inputs, Mapping))
    if count > MAX_INPUTS:
        _fail("too_many_inputs", f"the graph's nodes have {count} inputs, the limit is {MAX_INPUTS}")


def _fail(kind: str, message: str) -> NoReturn:
    raise GraphError([GraphProblem(kind=kind, message=message)])


def _fail_size(size_bytes: int) -> NoReturn:
    limit_mib = MAX_GRAPH_BYTES // 2**20
    _fail("too_large", f"the graph has {size_bytes / 2**20:.1f} MiB, the limit is {limit_mib} MiB")
