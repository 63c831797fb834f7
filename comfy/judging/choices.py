"""What a server finds out only when a node runs: choices of dynamic lists, names in growing groups.

ComfyUI looks a choice up among the options of its list. Where it finds none, the input is left out of the
check, and the node is run without it: at best it does something else than it was asked for.

Source: ComfyUI ``comfy_api/latest/_io.py``, ``DynamicCombo`` and ``Autogrow``; answers of real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from comfy.errors import GraphProblem
from comfy.judging import advice
from comfy.judging.reasons import Reason, missing, reason_of
from comfy.node_defs.definitions import COMBO_TYPE, InputDef, NodeDef, Section
from comfy.node_defs.dynamic_inputs import AUTOGROW, dynamic_inputs, grown_names, is_dynamic, option_keys

_UNGIVEN: Final = object()
_LINKED_CHOICE: Final = f"{COMBO_TYPE},STRING"


CheckLink = Callable[[InputDef, Sequence[Any]], Reason | None]


def open_choices(
    node_id: str, node: NodeDef, given: Mapping[str, Any], check_link: CheckLink
) -> Iterator[GraphProblem]:
    """What is wrong with the dynamic inputs of a node although a server would queue it."""
    if not is_dynamic(node):
        return
    for each in dynamic_inputs(node, given):
        if each.kind == AUTOGROW:
            yield from _unknown_names(node_id, node, each, given)
        elif (reason := _choice_fault(node, each, given, check_link)) is not None:
            yield advice.explain(node_id, node.class_type, reason)


def _choice_fault(
    node: NodeDef, combo: InputDef, given: Mapping[str, Any], check_link: CheckLink
) -> Reason | None:
    value = given.get(combo.name, _UNGIVEN)
    # What a choice asks for may stand in an input of the node itself, as it did before it was a dynamic list.
    elder = node.input(combo.name.rpartition(".")[2]) if "." in combo.name else None
    if value is _UNGIVEN and elder is not None:
        value = given.get(elder.name, _UNGIVEN)
        combo = replace(combo, name=elder.name)
    if value is _UNGIVEN:
        is_needed = combo.section is Section.REQUIRED and elder is None
        return missing(combo) if is_needed else None
    if isinstance(value, list):  # which of the choices comes along a link is known only at run time
        return check_link(replace(combo, kind=_LINKED_CHOICE), value)
    keys = option_keys(combo)
    if value in keys:
        return None
    extra = {
        "input_name": combo.name,
        "input_config": [COMBO_TYPE, {"options": list(keys)}],
        "received_value": value,
    }
    details = f"{combo.name}: {value!r} not in {list(keys)}"
    return reason_of("value_not_in_list", "Value not in list", details, extra)


def _unknown_names(
    node_id: str, node: NodeDef, group: InputDef, given: Mapping[str, Any]
) -> Iterator[GraphProblem]:
    names = grown_names(group)
    if not names:
        return
    known = {f"{group.name}.{name}" for name in names}
    for name in given:
        if name.startswith(f"{group.name}.") and name not in known:
            yield GraphProblem(
                kind="unknown_input",
                message=advice.not_of_the_group(
                    name, f"{group.name}.{names[0]}", f"{group.name}.{names[-1]}"
                ),
                node_id=node_id,
                class_type=node.class_type,
                input_name=name,
            )
