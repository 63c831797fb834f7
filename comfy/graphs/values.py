"""Where an input's value is really set, and what it is: links followed as far as that can be known."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from comfy.graphs.arithmetic import evaluate
from comfy.graphs.links import class_of, inputs_of, is_link
from comfy.node_defs.node_classes import (
    FIRST_INPUT,
    HEIGHT,
    WIDTH,
    Formula,
    NodeClass,
    Picks,
    looks_constant,
    node_class,
)

_PICTURES: Final = (
    "image",
    "images",
    "pixels",
    "input",
    "frames",
    "image1",
    "image_target",
)  # what the input for a picture is called
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_LONGEST_FORMULA: Final = 200  # characters
_MOST_DIGITS: Final = 20
_LARGEST: Final = 1e6  # a side, or megapixels
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
    # Of a value that is unknown until the graph runs: it is no larger. Of two sides of which only the area is
    # known: the side of a square of that area, so that their product is no larger.
    at_most: int | None = None
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
        return whole_of(self.value)


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


def side_of_picture(graph: Mapping[str, Any], node_id: str, input_name: str, side: str) -> Setting | None:
    """How wide or high the picture is that an input is linked to, as far as it is known."""
    link = inputs_of(graph, node_id).get(input_name)
    if not isinstance(link, list) or not is_link(link):
        return None
    asked = InputPath(node_id=node_id, input_name=input_name)
    made = _side_of_picture(graph, link[0], side, _DEEPEST)
    if made.stands_at is not None:
        return Setting(asked=asked, set_at=made.stands_at, value=made.value)
    return Setting(
        asked=asked, set_at=asked, value=made.value, at_most=made.at_most, source_id=link[0], slot=link[1]
    )


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


def whole_of(value: Any) -> int | None:
    """A value as the whole number that ComfyUI takes it for; None for what is none, and for one that no
    input takes: a seed has 20 digits, and what is computed with more of them ends in no number.
    """
    if isinstance(value, str):
        digits = value.strip().removeprefix("-")
        number = int(value) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else None
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else None
    else:
        number = value if isinstance(value, int) and not isinstance(value, bool) else None
    return number if number is not None and abs(number) < 10**_MOST_DIGITS else None


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
    made = _made(graph, value[0], value[1], depth)
    return Setting(
        asked=asked, set_at=at, value=made.value, at_most=made.at_most, source_id=value[0], slot=value[1]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What a node makes, as far as it is known before it runs."""

    value: Any = None
    at_most: int | None = None
    stands_at: InputPath | None = None  # the input whose value it is, unchanged


_UNKNOWN: Final = _Made()


def _handed_on(graph: Mapping[str, Any], node_id: str, slot: int, depth: int) -> InputPath | None:
    """The input whose value a node hands on as it is; None when it makes a value of its own."""
    row = _known(graph, node_id)
    if slot in row.tells_side:
        return _side_of_picture(graph, node_id, row.tells_side[slot], depth).stands_at
    name = _name_handed_on(graph, node_id, row, slot, depth)
    known = name is not None and name in inputs_of(graph, node_id)
    return InputPath(node_id=node_id, input_name=name) if known and name is not None else None


def _name_handed_on(
    graph: Mapping[str, Any], node_id: str, row: NodeClass, slot: int, depth: int
) -> str | None:
    inputs = inputs_of(graph, node_id)
    if row.is_switch:
        return _taken(graph, node_id, depth)
    if slot in row.picks:
        return _picked(graph, node_id, row.picks[slot], depth)
    if row.first_of is not None and slot == 0:
        return next((name for name in inputs if name.startswith(row.first_of)), None)
    name = row.hands_on.get(slot, row.sends)
    if name is None and slot == 0 and len(inputs) == 1 and looks_constant(class_of(graph, node_id) or ""):
        name = FIRST_INPUT
    return next(iter(inputs), None) if name == FIRST_INPUT else name


def _picked(graph: Mapping[str, Any], node_id: str, picks: tuple[str, Picks], depth: int) -> str | None:
    by, names = picks
    value = _value_at(graph, node_id, by, depth)
    if value is None:
        return None
    if isinstance(names, str):
        return names.format(whole_of(value))
    return names.get(value) if isinstance(value, int | str) else None


def _value_at(graph: Mapping[str, Any], node_id: str, input_name: str, depth: int) -> Any:
    if depth == 0 or input_name not in inputs_of(graph, node_id):
        return None
    return _follow(graph, InputPath(node_id=node_id, input_name=input_name), depth - 1).value


def _side_of_picture(graph: Mapping[str, Any], node_id: str, side: str, depth: int) -> _Made:
    """How wide or high the picture is that this node has."""
    for _ in range(_DEEPEST):
        row = _known(graph, node_id)
        if row.area_of is not None:
            return _Made(at_most=_side_of_area(graph, node_id, row, depth))
        inputs = inputs_of(graph, node_id)
        if row.sized_by is not None and (row.padded_by is None or set(row.sized_by) <= set(inputs)):
            return _side_made(graph, node_id, row, row.sized_by[side == HEIGHT], depth)
        if row.scaled_by is not None or row.padded_by is not None:
            return _side_changed(graph, node_id, row, side, depth)
        picture = _picture_taken(graph, node_id)
        passes = row.tells_side or row.same_size or row.hands_on
        if not passes or picture is None:
            return _UNKNOWN
        node_id = picture
    return _UNKNOWN


def _picture_taken(graph: Mapping[str, Any], node_id: str) -> str | None:
    inputs = inputs_of(graph, node_id)
    return next((inputs[name][0] for name in _PICTURES if is_link(inputs.get(name))), None)


def _side_changed(graph: Mapping[str, Any], node_id: str, row: NodeClass, side: str, depth: int) -> _Made:
    """A side of a picture that a node scales by a factor, or adds borders to."""
    picture = _picture_taken(graph, node_id)
    if picture is None or depth == 0:
        return _UNKNOWN
    taken = _side_of_picture(graph, picture, side, depth - 1)
    added = row.padded_by[side == HEIGHT] if row.padded_by is not None else ()
    inputs = inputs_of(graph, node_id)
    factor = 1 if row.scaled_by is None else _value_at(graph, node_id, row.scaled_by, depth)
    borders = [whole_of(_value_at(graph, node_id, name, depth)) for name in added if name in inputs]
    known = [each for each in borders if each is not None]
    if not isinstance(factor, int | float) or not 0 < factor < _LARGEST or len(known) < len(borders):
        return _UNKNOWN
    value, most = (
        None if each is None else round(each * factor) + sum(known) for each in (taken.value, taken.at_most)
    )
    return _Made(value=value, at_most=most)


def _side_made(graph: Mapping[str, Any], node_id: str, row: NodeClass, name: str, depth: int) -> _Made:
    value = whole_of(_value_at(graph, node_id, name, depth))
    picture = _picture_taken(graph, node_id) if value == 0 else None
    if picture is not None and depth and row.exact_when and _is_exact(graph, node_id, row.exact_when):
        side = HEIGHT if name == (row.sized_by or (None, None))[1] else WIDTH
        return _side_of_picture(graph, picture, side, depth - 1)
    step = whole_of(inputs_of(graph, node_id).get(row.multiple, 1)) if row.multiple else 1
    if value is None or value <= 0 or step is None:
        return _UNKNOWN
    if row.exact_when is not None:
        # A side of 0 follows from the picture, and the other becomes as said.
        follows = any(
            _value_at(graph, node_id, each, depth) == 0 for each in row.sized_by or () if each != name
        )
        if not _is_exact(graph, node_id, row.exact_when) and not follows:
            return _Made(at_most=value)
    rounded = value - value % max(step, 1)
    same = InputPath(node_id=node_id, input_name=name) if rounded == value else None
    return _Made(value=rounded, stands_at=same)


def _is_exact(graph: Mapping[str, Any], node_id: str, when: tuple[str, frozenset[Any]]) -> bool:
    by, exact = when
    return inputs_of(graph, node_id).get(by) in exact


def _side_of_area(graph: Mapping[str, Any], node_id: str, row: NodeClass, depth: int) -> int | None:
    names, unit = row.area_of or ((), 1)
    values = [_value_at(graph, node_id, name, depth) for name in names]
    if not values or not all(isinstance(value, int | float) and 0 < value < _LARGEST for value in values):
        return None
    return math.isqrt(int(math.prod(values) * unit))


def _known(graph: Mapping[str, Any], node_id: str) -> NodeClass:
    return node_class(class_of(graph, node_id) or "")


def _taken(graph: Mapping[str, Any], node_id: str, depth: int) -> str | None:
    position = _value_at(graph, node_id, "switch", depth)
    return None if position is None else "on_true" if position else "on_false"


def _made(graph: Mapping[str, Any], node_id: str, slot: int, depth: int) -> _Made:
    row = _known(graph, node_id)
    if slot in row.tells_side:
        return _side_of_picture(graph, node_id, row.tells_side[slot], depth)
    if slot in row.bounded_by:
        most = whole_of(_value_at(graph, node_id, row.bounded_by[slot], depth))
        return _Made(at_most=most if most is not None and most > 0 else None)
    if slot in row.formulas:
        return _Made(value=_by_formula(graph, node_id, row.formulas[slot], depth))
    if row.variables is None or not 0 <= slot < len(row.gives):
        return _UNKNOWN
    formula = _value_at(graph, node_id, row.formula, depth)
    if not isinstance(formula, str):
        return _UNKNOWN
    result = _calculated(graph, node_id, formula, row.variables, depth)
    return _UNKNOWN if result is None else _Made(value=row.gives[slot](result))


def _by_formula(graph: Mapping[str, Any], node_id: str, formula: Formula, depth: int) -> int | float | None:
    if not isinstance(formula, str):
        by, each = formula
        formula = each.get(str(_value_at(graph, node_id, by, depth)), "")
    return _calculated(graph, node_id, formula, "", depth)


def _calculated(
    graph: Mapping[str, Any], node_id: str, formula: str, before: str, depth: int
) -> int | float | None:
    # Each name once, and only those that the formula uses: what is behind them may be formulas again.
    used = {f"{before}{name}": name for name in _NAME.findall(formula[:_LONGEST_FORMULA])}
    values = {
        name: _value_at(graph, node_id, path, depth)
        for path, name in used.items()
        if path in inputs_of(graph, node_id)
    }
    return evaluate(formula, values)
