"""Where an input's value is really set, and what it is: links followed as far as that can be known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from comfy.graphs.arithmetic import evaluate
from comfy.graphs.links import (
    class_of,
    inputs_of,
    is_link,
)
from comfy.node_defs.node_classes import FIRST_INPUT, NodeClass, node_class

_AS: Final = (float, int, bool)  # what the outputs of a node that calculates give its result as
_KEEPS_SIDES: Final = frozenset({None, "stretch", "crop"})  # other ways of keeping proportions change a side

_DEEPEST = 8  # formulas and switches within each other: a graph made to hurt nests thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPath:
    """An input of a node. As text it is ``node.input``, as parameters name it."""

    node_id: str
    input_name: str

    def __str__(self) -> str:
        return f"{self.node_id}.{self.input_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value that a node gets, and the input where it is set."""

    asked: InputPath  # the input that gets the value
    set_at: InputPath  # where the literal stands, or from where a link leads to what makes the value
    value: Any  # None: unknown until the graph runs
    source_id: str | None = None  # the node that makes the value; None: a literal stands at `set_at`
    slot: int = 0  # which of its outputs

    @property
    def is_computed(self) -> bool:
        """Whether a node makes the value: changing it means to change what that node is given."""
        return self.source_id is not None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the value is set at another node than the one that uses it."""
        return self.set_at != self.asked

    @property
    def whole(self) -> int | None:
        """The value, when it is a whole number."""
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else None


def setting(graph: Mapping[str, Any], node_id: str, input_name: str) -> Setting | None:
    """Find where an input's value is set; None when the node has no such input.

    Nodes that only hand on are passed: primitives, constants, reroutes, and switches whose position is known.
    """
    if input_name not in inputs_of(graph, node_id):
        return None
    return _follow(graph, InputPath(node_id=node_id, input_name=input_name), _DEEPEST)


def literal(graph: Mapping[str, Any], node_id: str, input_name: str) -> Any:
    """Find the value that an input gets, through links to nodes that only hold or calculate a value.

    None when the input is missing or another node computes it: a widget's value in the file says nothing
    once a link stands in its place.
    """
    found = setting(graph, node_id, input_name)
    return None if found is None else found.value


def untaken(graph: Mapping[str, Any], node_id: str) -> str | None:
    """Name the input of a switch whose branch will not run; None for other nodes and unknown positions."""
    if not _known(graph, node_id).is_switch:
        return None
    taken = _taken(graph, node_id, _DEEPEST)
    return {"on_true": "on_false", "on_false": "on_true"}.get(taken or "")


def running(graph: Mapping[str, Any], outputs: Iterable[str]) -> set[str]:
    """Collect what runs for these outputs: all that they draw on but for branches that a switch leaves out.

    ComfyUI still checks those branches, their model files included, before it runs the others.
    """
    seen: set[str] = set()
    waiting = [node_id for node_id in outputs if node_id in graph]
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        left_out = untaken(graph, node_id)
        waiting += [
            value[0]
            for name, value in inputs_of(graph, node_id).items()
            if name != left_out and is_link(value) and value[0] in graph
        ]
    return seen


def _follow(graph: Mapping[str, Any], asked: InputPath, depth: int) -> Setting:
    at = asked
    for _ in range(len(graph) + 1):
        value = inputs_of(graph, at.node_id).get(at.input_name)
        if not isinstance(value, list) or not is_link(value):
            return Setting(asked=asked, set_at=at, value=value)
        behind = _handed_on(graph, value[0], value[1], depth)
        if behind is None:
            break
        at = behind
    else:  # nodes that hand on to each other in a circle
        value = [at.node_id, 0]
    known = _calculated(graph, value[0], value[1], depth)
    return Setting(asked=asked, set_at=at, value=known, source_id=value[0], slot=value[1])


def _handed_on(graph: Mapping[str, Any], node_id: str, slot: int, depth: int) -> InputPath | None:
    """The input whose value a node hands on as it is; None when it makes a value of its own."""
    row = _known(graph, node_id)
    if row.is_switch:
        name = _taken(graph, node_id, depth)
    elif (side := row.tells_side.get(slot)) is not None:
        return _side_of_picture(graph, node_id, side, depth)
    else:
        name = row.hands_on.get(slot)
        if name == FIRST_INPUT:
            name = next(iter(inputs_of(graph, node_id)), None)
    known = name is not None and name in inputs_of(graph, node_id)
    return InputPath(node_id=node_id, input_name=name) if known and name is not None else None


def _side_of_picture(graph: Mapping[str, Any], node_id: str, side: str, depth: int) -> InputPath | None:
    """The input that says how wide or high the picture is that this node has; None when none does."""
    for _ in range(_DEEPEST):
        inputs = inputs_of(graph, node_id)
        row = _known(graph, node_id)
        if row.resizes:
            break
        if not row.tells_side or not is_link(inputs.get("image")):
            return None
        node_id = inputs["image"][0]
    else:
        return None
    if depth == 0 or inputs.get("keep_proportion") not in _KEEPS_SIDES:
        return None
    at = InputPath(node_id=node_id, input_name=side)
    value = _follow(graph, at, depth - 1).value
    step = inputs.get("divisible_by", 1)
    exact = isinstance(value, int) and isinstance(step, int) and value > 0 and value % max(step, 1) == 0
    return at if exact else None


def _known(graph: Mapping[str, Any], node_id: str) -> NodeClass:
    return node_class(class_of(graph, node_id) or "")


def _taken(graph: Mapping[str, Any], node_id: str, depth: int) -> str | None:
    if depth == 0 or "switch" not in inputs_of(graph, node_id):
        return None
    position = _follow(graph, InputPath(node_id=node_id, input_name="switch"), depth - 1).value
    return None if position is None else "on_true" if position else "on_false"


def _calculated(graph: Mapping[str, Any], node_id: str, slot: int, depth: int) -> Any:
    before = _known(graph, node_id).variables
    if before is None or depth == 0 or not 0 <= slot < len(_AS):
        return None
    inputs = inputs_of(graph, node_id)
    names = {
        name.removeprefix(before): _follow(
            graph, InputPath(node_id=node_id, input_name=name), depth - 1
        ).value
        for name in inputs
        if name.startswith(before)
    }
    formula = _follow(graph, InputPath(node_id=node_id, input_name="expression"), depth - 1).value
    result = evaluate(formula, names) if isinstance(formula, str) else None
    return None if result is None else _AS[slot](result)
