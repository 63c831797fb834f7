"""Links that no wire shows: what the nodes of the pack Use Everywhere send to every input that fits.

Source: cg-use-everywhere 7.8, ``use_everywhere_graph_analysis.js``, ``use_everywhere_classes.js``,
``ue_properties.js``. Which links it found stands in the file as well (``extra.ue_links``): that is followed
where a rule depends on how the nodes lie on the sheet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.ui.document import INPUT_NODE, Mode, Node, Sheet, Slot, Wire, fail

PROMPTS: Final = "Prompts Everywhere"
SEED: Final = "Seed Everywhere"
SENDERS: Final = frozenset(
    {"Anything Everywhere", "Anything Everywhere3", "Anything Everywhere?", "Anything Somewhere", PROMPTS}
)
_REGEXES: Final = ("title", "input", "group")  # in the order of the widgets of versions before 7
_BY_PLACE: Final = ("group_regex", "group_restricted", "color_restricted")
_NO_PLACE: Final = (None, 0, False, "", ".*")
_NO_RULE: Final = frozenset({"", ".*"})
# An expression is somebody else's text, and one made to hurt takes for ever: `re` knows no deadline.
_REPEATS: Final = re.compile(r"[*+{]")
_REPEATED_GROUP: Final = re.compile(r"\)[*+?{]")
_MOST_REPEATS: Final = 3
_ID: Final = "everywhere"
_LONGEST: Final = 200  # characters of an expression, and of a text that it is held against

_Fits = Callable[[Node, Slot], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """One value on its way to every input that fits."""

    kind: str
    origin: tuple[str, int]
    priority: int
    fits: _Fits


def with_sent_links(sheet: Sheet) -> Sheet:
    """The sheet with a wire for every link that is only sent.

    Raises:
        GraphError: the links depend on how the nodes lie on the sheet, and the file does not note them.
    """
    record = sheet.sent
    senders = [node for node in sheet.nodes.values() if _sends(node)]
    if not senders:
        return sheet
    if any(_is_by_place(node) for node in senders):
        if not isinstance(record, list):
            message = (
                "it links nodes by rules that only the editor can apply, and the file does not note which"
            )
            fail("unsupported_node", message, node_id=senders[0].node_id, class_type=senders[0].class_type)
        return _wired(sheet, _recorded(sheet, record))
    return _wired(sheet, _found(sheet, [sent for node in senders for sent in _sent_by(sheet, node)]))


def _sends(node: Node) -> bool:
    converted = node.properties.get("ue_convert") is True
    return node.mode == Mode.ALWAYS and (node.class_type in SENDERS or node.class_type == SEED or converted)


def _rules(node: Node) -> Mapping[str, Any]:
    given = node.properties.get("ue_properties")
    rules: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    if not rules and node.class_type in SENDERS:  # before 7 the rules were widgets
        values = node.values if isinstance(node.values, list) else []
        old = {f"{name}_regex": value for name, value in zip(_REGEXES, values, strict=False)}
        restricted = {name: node.properties.get(name) for name in _BY_PLACE}
        rules = {**rules, **old, **{name: value for name, value in restricted.items() if value}}
    if node.class_type == SEED:
        rules["input_regex"] = rules.get("input_regex") or "seed"
    return rules


def _is_by_place(node: Node) -> bool:
    """Whether its rules are not for us to apply: they look at the sheet, or take long."""
    rules = _rules(node)
    if any(rules.get(name) not in _NO_PLACE for name in _BY_PLACE):
        return True
    texts = [str(rules.get(f"{name}_regex") or "") for name in ("title", "input")]
    return bool(rules.get("repeated_type_rule")) or not all(map(_is_tame, texts))


def _is_tame(text: str) -> bool:
    short = len(text) <= _LONGEST and len(_REPEATS.findall(text)) <= _MOST_REPEATS
    return short and _REPEATED_GROUP.search(text) is None


def _sent_by(sheet: Sheet, node: Node) -> Iterator[_Sent]:
    given = list(_offered(sheet, node))
    kinds = Counter(kind for kind, _, _ in given)
    rules = _rules(node)
    title, name = _regex(rules, "title"), _regex(rules, "input")
    repeated = any(count > 1 for count in kinds.values())
    priority = rules.get("priority")
    if not isinstance(priority, int) or not priority:
        priority = 10 + 10 * (node.class_type in (PROMPTS, SEED)) + 20 * (bool(title or name) or repeated)
    for kind, origin, label in given:
        # Two values of one type go to the inputs of their own names.
        own = label if kinds[kind] > 1 or rules.get("apply_to_unrepeated") else None

        def fits(target: Node, slot: Slot, own: str | None = own) -> bool:
            shown = target.title or target.class_type
            named = own is None or (slot.label or slot.name) == own
            return named and title_fits(title, shown) and title_fits(name, slot.label or slot.name)

        yield _Sent(kind=kind, origin=origin, priority=priority, fits=fits)


_Rule = tuple[re.Pattern[str], bool]  # an expression, and whether what it matches is left out


def title_fits(rule: _Rule | None, text: str) -> bool:
    """Whether a rule lets a text pass."""
    return rule is None or (rule[0].search(text[:_LONGEST]) is not None) is not rule[1]


def _regex(rules: Mapping[str, Any], name: str) -> _Rule | None:
    text = rules.get(f"{name}_regex")
    if not isinstance(text, str) or text in _NO_RULE:
        return None
    try:
        return re.compile(text), bool(rules.get(f"{name}_regex_invert"))
    except re.error:
        return None


def _offered(sheet: Sheet, node: Node) -> Iterator[tuple[str, tuple[str, int], str]]:
    """What a sender has to give: type, where it comes from, and the name that it goes by."""
    if node.class_type not in SENDERS:  # what it makes itself
        for number, output in enumerate(node.outputs):
            yield output.kind, (node.node_id, number), output.label or output.name
        return
    for number, slot in enumerate(node.inputs):
        wire = sheet.wires.get(slot.link or "")
        if wire is None:
            continue
        label = slot.label or slot.name
        if node.class_type == PROMPTS:
            label = ("positive", "negative")[number] if number < 2 else label
        yield _kind_at(sheet, wire) or slot.kind, (wire.origin_id, wire.origin_slot), label


def _kind_at(sheet: Sheet, wire: Wire) -> str | None:
    origin = sheet.nodes.get(wire.origin_id)
    slots = sheet.inputs if wire.origin_id == INPUT_NODE else origin.outputs if origin is not None else ()
    return slots[wire.origin_slot].kind if 0 <= wire.origin_slot < len(slots) else None


def _found(sheet: Sheet, sent: list[_Sent]) -> Iterator[tuple[str, int, tuple[str, int]]]:
    by_kind: dict[str, list[_Sent]] = {}
    for each in sent:
        by_kind.setdefault(each.kind, []).append(each)
    for node in sheet.nodes.values():
        if node.mode != Mode.ALWAYS or node.class_type in SENDERS or node.properties.get("rejects_ue_links"):
            continue
        for number, slot in enumerate(node.inputs):
            if slot.link in sheet.wires or not _takes(node, slot):
                continue
            fitting = [
                each
                for each in by_kind.get(slot.kind, ())
                if each.origin[0] != node.node_id and each.fits(node, slot)
            ]
            best = max((each.priority for each in fitting), default=0)
            chosen = [each for each in fitting if each.priority == best]
            if len(chosen) == 1:  # of two that are equal, the pack takes none
                yield node.node_id, number, chosen[0].origin


def _takes(node: Node, slot: Slot) -> bool:
    """Whether the input is open to what is sent: sockets are, widgets only when they were opened."""
    own = node.properties.get("ue_properties")
    rules = own if isinstance(own, Mapping) else {}
    opened = rules.get("widget_ue_connectable") or node.properties.get("widget_ue_connectable")
    closed = rules.get("input_ue_unconnectable")
    if slot.widget is not None:
        return isinstance(opened, Mapping) and bool(opened.get(slot.name))
    return not (isinstance(closed, Mapping) and closed.get(slot.name))


def _recorded(sheet: Sheet, record: list[Any]) -> Iterator[tuple[str, int, tuple[str, int]]]:
    for each in record:
        if not isinstance(each, Mapping):
            continue
        target, number = str(each.get("downstream")), each.get("downstream_slot")
        slot = each.get("upstream_slot")
        node = sheet.nodes.get(target)
        if node is None or not isinstance(number, int) or not isinstance(slot, int):
            continue
        if 0 <= number < len(node.inputs) and node.inputs[number].link not in sheet.wires:
            yield target, number, (str(each.get("upstream")), slot)


def _wired(sheet: Sheet, links: Iterator[tuple[str, int, tuple[str, int]]]) -> Sheet:
    nodes, wires = dict(sheet.nodes), dict(sheet.wires)
    for target, number, (origin, slot) in list(links):
        link_id = f"{_ID}:{target}:{number}"
        wires[link_id] = Wire(
            link_id=link_id, origin_id=origin, origin_slot=slot, target_id=target, target_slot=number
        )
        inputs = list(nodes[target].inputs)
        inputs[number] = replace(inputs[number], link=link_id)
        nodes[target] = replace(nodes[target], inputs=tuple(inputs))
    return replace(sheet, nodes=nodes, wires=wires)
