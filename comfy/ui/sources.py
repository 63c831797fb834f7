"""Where an input's value comes from: through reroutes, bypassed nodes, primitives and subgraph borders.

Source: ComfyUI's frontend, ``ExecutableNodeDTO`` (``resolveInput``, ``resolveOutput``); KJNodes,
``setgetnodes.js``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from comfy.judging.reasons import types_fit
from comfy.ui.document import INPUT_NODE, Mode, Node, Slot, fail
from comfy.ui.everywhere import SEED, SENDERS
from comfy.ui.scopes import LONGEST_NAME, Scope
from comfy.ui.widgets import listed

PRIMITIVE: Final = "PrimitiveNode"
# KJNodes and Easy-Use have the same pair under two names; a get node finds the set node of its own pack.
SET_OF_GET: Final = {"GetNode": "SetNode", "easy getNode": "easy setNode"}
REROUTES: Final = frozenset({"Reroute", "Reroute (rgthree)", "mxReroute", *SET_OF_GET.values()})
# Nodes of the editor alone that neither hold nor pass a value.
SILENT: Final = frozenset(
    {
        "Note",
        "MarkdownNote",
        "Label (rgthree)",
        "Bookmark (rgthree)",
        "Fast Muter (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Mute / Bypass Relay (rgthree)",
        "Mute / Bypass Repeater (rgthree)",
        "Fast Actions Button (rgthree)",
        "Node Collector (rgthree)",
        "Random Unmuter (rgthree)",
        "LabelNode",
        "Note Plus (mtb)",
    }
)
# Those of Use Everywhere have been followed when the sheet was read.
VIRTUAL: Final = SILENT | SENDERS | REROUTES | {PRIMITIVE, SEED, *SET_OF_GET}

_ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A value that a node gives when it runs."""

    node_id: str
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A value that stands in the file, on another node than the one that takes it."""

    value: Any
    typed_in: bool = False  # the editor does to the input's own widget as if a person had typed the value


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The node that gave it is muted: the input is not sent at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAs:
    """The value of another node's widget: both hang on one input of a subgraph, which has no value itself."""

    node_id: str
    input_name: str


Source = Taken | Literal | SameAs | Gone | None  # None: nothing is linked, so the widget's own value counts

_LinkAt = tuple[Scope, str]  # a level and the id of a link in it


class Sources:
    """Follows links, each only once."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, ...], str, str], Source] = {}

    def of(self, scope: Scope, link_id: str, kind: str) -> Source:
        """What comes along a link; `kind` is the type that its end takes.

        Raises:
            GraphError: reroutes or subgraphs lead in a circle, or a GetNode has no SetNode.
        """
        on_the_way: list[tuple[tuple[str, ...], str, str]] = []
        seen: set[tuple[tuple[str, ...], str, str]] = set()
        found: Source | _LinkAt = (scope, link_id)
        while isinstance(found, tuple):
            scope, link_id = found
            key = (scope.path, link_id, kind)
            if key in self._known:
                found = self._known[key]
                break
            if key in seen:
                fail("cycle", f"link {link_id} leads back to itself, through reroutes or bypassed nodes")
            seen.add(key)
            on_the_way.append(key)
            found = self._step(scope, link_id, kind)
        for key in on_the_way:
            self._known[key] = found
        return found

    def _step(self, scope: Scope, link_id: str, kind: str) -> Source | _LinkAt:
        wire = scope.sheet.wires.get(link_id)
        if wire is None:
            return None
        if wire.origin_id == INPUT_NODE:
            return _outside(scope, wire.origin_slot)
        node = scope.sheet.nodes.get(wire.origin_id)
        return None if node is None else _through(scope, node, wire.origin_slot, kind)


def _outside(scope: Scope, slot: int) -> Source | _LinkAt:
    """From inside a subgraph: what its user linked to this input, or typed into the widget on its face."""
    if scope.parent is None or not 0 <= slot < len(scope.sheet.inputs):
        return None
    name = scope.sheet.inputs[slot].name
    link = scope.given.get(name)
    if link in scope.parent.sheet.wires:
        return scope.parent, str(link)
    value = scope.shown.get(name)
    if value is not None:
        return Literal(value=value)
    inner = scope.promoted.get(slot)
    if inner is None or inner[0] in scope.children:
        return None
    return SameAs(node_id=scope.id_of(scope.sheet.nodes[inner[0]]), input_name=inner[1])


def _through(scope: Scope, node: Node, slot: int, kind: str) -> Source | _LinkAt:
    if node.mode == Mode.BYPASS:
        return _linked(scope, _matching_input(node, slot, kind))
    if node.mode == Mode.NEVER:
        return Gone()
    child = scope.children.get(node.node_id)
    if child is not None:
        link = child.results.get(slot)
        return None if link is None else (child, link)
    if node.class_type in VIRTUAL:
        return _through_virtual(scope, node)
    return Taken(node_id=scope.id_of(node), slot=slot)


def _through_virtual(scope: Scope, node: Node) -> Source | _LinkAt:
    if node.class_type in (PRIMITIVE, SEED):
        value = next(iter(listed(node.values)), None)
        return None if value is None else Literal(value=value, typed_in=node.class_type == PRIMITIVE)
    if node.class_type in SET_OF_GET:
        return _linked(*_setter_of(scope, node))
    return _linked(scope, next(iter(node.inputs), None)) if node.class_type in REROUTES else None


def _linked(scope: Scope, given: Slot | None) -> _LinkAt | None:
    return None if given is None or given.link is None else (scope, given.link)


def _matching_input(node: Node, slot: int, kind: str) -> Slot | None:
    """The input that a bypassed node hands on as output `slot`: of the same number or the same type."""
    inputs, outputs = node.inputs, node.outputs
    given = outputs[slot].kind if 0 <= slot < len(outputs) else kind
    if _ANY in (kind, given):
        return inputs[slot] if slot < len(inputs) else next(iter(inputs), None)
    opposite = inputs[slot] if slot < len(inputs) else None
    if opposite is not None and opposite.link is not None and types_fit(opposite.kind, given):
        return opposite
    return next(_preferred(inputs, kind, given), None)


def _preferred(inputs: tuple[Slot, ...], kind: str, given: str) -> Iterator[Slot]:
    yield from (each for each in inputs if each.kind == kind)
    yield from (each for each in inputs if types_fit(each.kind, given))


def _setter_of(scope: Scope, getter: Node) -> tuple[Scope, Slot | None]:
    """The level and the input of the SetNode that a GetNode names, on its own level or one around it."""
    name = str(next(iter(listed(getter.values)), ""))[:LONGEST_NAME]
    level: Scope | None = scope
    while level is not None:
        setter = level.by_first_value.get((SET_OF_GET[getter.class_type], name))
        if setter is not None:
            return level, next(iter(setter.inputs), None)
        level = level.parent
    message = f'no SetNode of the workflow sets "{name[:60]}"'
    return fail("get_without_set", message, node_id=scope.id_of(getter), class_type=getter.class_type)
