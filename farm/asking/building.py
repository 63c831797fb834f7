"""From a graph or a template, and names with values, to the graph that a job renders."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comfy.graphs.graph import MAX_GRAPH_BYTES, Graph, LeftOut, find_input
from comfy.wan.binding import Bindings, input_paths_of, resolve
from comfy.wan.parameters import ParameterKind
from comfy.wan.templates import get_template
from comfy.wan.together import may_part, told_apart
from farm.asking.graphs import (
    Knowledge,
    ReadGraph,
    effective,
    known_without_a_fleet,
    read_with_key,
    roles_of,
    with_values,
)
from farm.asking.sources import public_source, scheme_of
from farm.errors import InvalidJob, Problem

_SEED_BITS: Final = 48  # counted up, it stays a number that JavaScript can show without rounding

GraphSource = Mapping[str, Any] | str | bytes | Path  # a str or Path is a file's path; bytes are JSON
InputSource = str | Path | bytes  # an address (s3://, https://; may end in #sha256=…), a path, or the bytes

_NO_BINDINGS: Final[Bindings] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A graph with all that was asked for in it."""

    graph: Graph
    values: Mapping[str, Any]  # "node.input" -> what was set in the graph; empty for a template
    template_parameters: Mapping[str, Any]  # every parameter of the template with the value used
    inputs: Mapping[str, InputSource]  # "node.input" -> file that the node is to read
    key: Hashable  # what stands for the graph but for texts and seeds; None: nothing does
    notes: tuple[str, ...] = ()  # what was taken otherwise than it stands in the caller's file, in words
    left_out: tuple[LeftOut, ...] = ()  # nodes of an editor's file that are muted or bypassed


def build_graph(
    graph: GraphSource,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, InputSource],
    bind: Bindings = _NO_BINDINGS,
    *,
    known: Knowledge = known_without_a_fleet,
) -> Built:
    """Set values and files in a caller's own graph; a name is ``node.input``, a bound name, or a role.

    Args:
        known: what is known of nodes, for a workflow as ComfyUI's editor saves it.

    Raises:
        GraphError: the graph cannot run, a name means nothing in it, or a value is none that its role takes.
        InvalidJob: the file cannot be read.
    """
    read = read_with_key(read_source(graph), known)
    plain = read.graph
    direct = {name: value for name, value in parameters.items() if find_input(plain, name) is not None}
    meant = {name: value for name, value in parameters.items() if name not in direct}
    # What an input is set to may turn a switch: roles are those of the graph that comes of it.
    base = with_values(plain, direct) if direct else plain
    named = any(find_input(plain, name) is None for name in inputs)
    if not meant and not named:
        return _built(base, read, direct, inputs)
    roles = roles_of(base, _key(read.key, direct))
    found = resolve(base, roles, meant, bind)
    files = {
        path: source for name, source in inputs.items() for path in input_paths_of(base, roles, name, bind)
    }
    return _built(with_values(base, found.values), read, direct | found.values, found.files | files)


def _built(
    graph: Graph, read: ReadGraph, values: Mapping[str, Any], inputs: Mapping[str, InputSource]
) -> Built:
    key = _key(read.key, values)
    apart = (
        told_apart(roles_of(read.graph, _key(read.key, {})), roles_of(graph, key), values)
        if may_part(values)
        else ()
    )
    return Built(
        graph=graph,
        values=values,
        template_parameters={},
        inputs=inputs,
        key=key,
        notes=(*read.notes, *apart),
        left_out=read.left_out,
    )


def _key(image: bytes | None, values: Mapping[str, Any]) -> Hashable:
    set_to = effective(values)
    return None if image is None or set_to is None else (image, set_to)


def build_template(name: str, parameters: Mapping[str, Any], inputs: Mapping[str, InputSource]) -> Built:
    """Build a built-in template; a picture of it may be given among the parameters or among the inputs.

    Raises:
        GraphError: there is no such template, or it does not take a parameter or its value.
    """
    template = get_template(name)
    pictures = {each.name for each in template.parameters if each.kind is ParameterKind.FILE}
    given = {each: source for each, source in inputs.items() if each in pictures}
    others = {path: source for path, source in inputs.items() if path not in pictures}
    built = template.build(**{**parameters, **given})
    # Which picture it is makes no difference to what the graph needs, whether there is one does.
    shape = effective({each: value for each, value in built.parameters.items() if each not in pictures})
    return Built(
        graph=built.graph,
        values={},
        template_parameters={
            each: _noted_source(value) if each in pictures else value
            for each, value in built.parameters.items()
        },
        inputs=built.files | others,
        key=None if shape is None else (name, shape, tuple(built.files)),
    )


def read_source(source: GraphSource | None) -> Mapping[str, Any] | bytes:
    """The graph as a mapping or as JSON text; a file is read.

    Raises:
        InvalidJob: the file cannot be read.
    """
    if isinstance(source, (str, Path)):
        try:
            with Path(source).open("rb") as file:
                return file.read(MAX_GRAPH_BYTES + 1)  # what is larger is refused where it is read
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise InvalidJob([Problem(field="graph", message=f"cannot read {source}: {reason}")]) from exc
    return {} if source is None else source


def _noted_source(source: InputSource | None) -> str | None:
    """A file as the note of the parameters has it; its address with the secrets is among the inputs only."""
    shown = shown_source(source)
    return public_source(shown) if shown is not None and scheme_of(shown) else shown


def shown_source(source: InputSource | None) -> str | None:
    """A file as a record names it."""
    if source is None:
        return None
    return "(bytes)" if isinstance(source, bytes) else str(source)


def draw_seed(key: str | None) -> int:
    """A seed that nobody gave; of an idempotency key always the same, so that its repeat is an equal job."""
    if key is None:
        return secrets.randbelow(2**_SEED_BITS)
    return int.from_bytes(hashlib.sha256(ascii(key).encode()).digest()[: _SEED_BITS // 8], "big")
