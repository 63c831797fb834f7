"""Where an input's value comes from: through reroutes, bypassed nodes, primitives and subgraph borders.

Source: ComfyUI's frontend, ``ExecutableNodeDTO`` (``resolveInput``, ``resolveOutput``); KJNodes,
``setgetnodes.js``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from comfy.judging.reasons import types_fit
from comfy.ui.document import INPUT_NODE, Mode, Node, Slot, fail
from comfy.ui.everywhere import SEED, SENDERS
from comfy.ui.scopes import LONGEST_NAME, Scope
from comfy.ui.widgets import listed

PRIMITIVE: Final = "PrimitiveNode"
# Packs have the same pair under names of their own; a get node finds the set node of its own pack.
SET_OF_GET: Final = {
    "GetNode": "SetNode",
    "easy getNode": "easy setNode",
    "GetNode_mod": "SetNode_mod",
    "KayGetNode": "KaySetNode",
}
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
        "VHS_SelectLatest",
        "easy bookmark",
        "PresetText|pysssss",
        "Show Metadata [Crystools]",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedIn:
    """The value of a primitive, which the editor types into the widgets that hang on it.

    On its own level alone: a widget behind the border of a subgraph keeps the value that it has.
    """

    value: Any
    level: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAs:
    """The value of another node's widget: both hang on one input of a subgraph, which has no value itself."""

    node_id: str
    input_name: str


# None: nothing is linked, or what is runs not at all, so the widget's own value counts
Source = Taken | Literal | TypedIn | SameAs | None

_LinkAt = tuple[Scope, str, str]  # a level, the id of a link in it, and the type that its end takes


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
        found: Source | _LinkAt = (scope, link_id, kind)
        while isinstance(found, tuple):
            scope, link_id, kind = found
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
    given = scope.given.get(name)
    if given is not None and given.link in scope.parent.sheet.wires:
        return scope.parent, str(given.link), given.kind
    value = scope.shown.get(name)
    if value is not None:
        return Literal(value=value)
    inner = scope.promoted.get(slot)
    if inner is None or inner[0] in scope.children:
        return None
    return SameAs(node_id=scope.id_of(scope.sheet.nodes[inner[0]]), input_name=inner[1])


def _through(scope: Scope, node: Node, slot: int, kind: str) -> Source | _LinkAt:
    if node.class_type == PRIMITIVE:  # switched off or not
        value = next(iter(listed(node.values)), None)
        return None if value is None else TypedIn(value=value, level=scope.path)
    if node.mode == Mode.BYPASS:
        handed_on = _matching_input(node, slot, kind)
        return None if handed_on is None else _linked(scope, handed_on, handed_on.kind)
    if node.mode == Mode.NEVER:
        return None
    child = scope.children.get(node.node_id)
    if child is not None:
        link = child.results.get(slot)
        return None if link is None else (child, link, kind)
    if node.class_type in VIRTUAL:
        return _through_virtual(scope, node, kind)
    return Taken(node_id=scope.id_of(node), slot=slot)


def _through_virtual(scope: Scope, node: Node, kind: str) -> Source | _LinkAt:
    if node.class_type == SEED:
        value = next(iter(listed(node.values)), None)
        return None if value is None else Literal(value=value)
    if node.class_type in SET_OF_GET:
        level, setter = _setter_of(scope, node)
        return _linked(level, setter, kind)
    return _linked(scope, next(iter(node.inputs), None), kind) if node.class_type in REROUTES else None


def _linked(scope: Scope, given: Slot | None, kind: str) -> _LinkAt | None:
    return None if given is None or given.link is None else (scope, given.link, kind)


def _matching_input(node: Node, slot: int, kind: str) -> Slot | None:
    """The input that a bypassed node hands on as output `slot`: of the same number or the same type."""
    inputs, outputs = node.inputs, node.outputs
    given = outputs[slot].kind if 0 <= slot < len(outputs) else kind
    opposite = inputs[slot] if slot < len(inputs) else None
    if kind in (_ANY, ""):
        return opposite or next(iter(inputs), None)

    def fits(each: Slot) -> bool:
        return types_fit(each.kind, given) and types_fit(each.kind, kind)

    if opposite is not None and fits(opposite):
        return opposite
    same = (each for each in inputs if each.kind == kind)
    return next(same, None) or next(filter(fits, inputs), None)


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
