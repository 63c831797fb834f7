"""What ComfyUI says is wrong with one value or one link of a graph, in its own JSON.

Source: ComfyUI ``execution.py``, ``validate_inputs``, and answers of real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from comfy.generations import Generation
from comfy.node_defs.definitions import ANY_TYPE, COMBO_TYPE, MATCH_TYPE, InputDef, NodeDef, OutputDef
from comfy.node_defs.node_classes import node_class

Reason = dict[str, Any]  # ComfyUI's own: type, message, details, extra_info

# Above this many choices ComfyUI does not send the list back.
LONGEST_LIST_SENT_BACK: Final = 20

CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "INT": int,
    "FLOAT": float,
    "STRING": str,
    "BOOLEAN": bool,
}


class StumblesError(Exception):
    """ComfyUI's own code would raise here; the node that links to this one gets the blame written down."""

    def __init__(self, exception_type: str, text: str) -> None:
        super().__init__(text)
        self.exception_type = exception_type
        self.text = text


def reason_of(
    kind: str, message: str, details: str = "", extra_info: Mapping[str, Any] | None = None
) -> Reason:
    return {"type": kind, "message": message, "details": details, "extra_info": dict(extra_info or {})}


def types_fit(received: str, wanted: str) -> bool:
    """Whether an output of type `received` may be linked to an input of type `wanted`.

    Either may be a list of types with commas; ``*`` fits everything.

    Source: ComfyUI ``comfy_execution/validation.py``.
    """
    if received == wanted or MATCH_TYPE in (received, wanted):
        return True
    given = {part.strip() for part in received.split(",")}
    taken = {part.strip() for part in wanted.split(",")}
    return ANY_TYPE in given or ANY_TYPE in taken or bool(given & taken)


def config_of(wanted: InputDef) -> list[Any]:
    """An input's definition as ComfyUI sends it back in an error: always type and options."""
    kind = list(wanted.choices or ()) if wanted.is_old_combo else wanted.kind
    return [kind, dict(wanted.options)]


def slot_of(outputs: tuple[OutputDef, ...], index: Any) -> OutputDef:
    if not isinstance(index, int):
        raise StumblesError(
            "TypeError", f"tuple indices must be integers or slices, not {type(index).__name__}"
        )
    try:
        return outputs[index]
    except IndexError:
        raise StumblesError("IndexError", "tuple index out of range") from None


def missing(wanted: InputDef, *, of_dynamic: bool = False) -> Reason:
    extra = {"input_name": wanted.name}
    details = wanted.name.rpartition(".")[2] if of_dynamic else wanted.name
    return reason_of("required_input_missing", "Required input is missing", details, extra)


def not_convertible(wanted: InputDef, value: Any, why: str) -> Reason:
    extra = {
        "input_name": wanted.name,
        "input_config": config_of(wanted),
        "received_value": value,
        "exception_message": why,
    }
    message = f"Failed to convert an input value to a {wanted.kind} value"
    return reason_of("invalid_input_type", message, f"{wanted.name}, {value}, {why}", extra)


def checks_itself(node: NodeDef, wanted: InputDef) -> bool:
    if node.class_type == "CustomCombo":  # its choices are the user's own
        return True
    known = node_class(node.class_type)
    return known.refusal is not None and known.input_file == wanted.name


def range_reason(wanted: InputDef, value: Any) -> Reason | None:
    extra = {"input_name": wanted.name, "input_config": config_of(wanted), "received_value": value}
    try:
        if wanted.minimum is not None and value < wanted.minimum:
            message = f"Value {value} smaller than min of {wanted.minimum}"
            return reason_of("value_smaller_than_min", message, wanted.name, extra)
        if wanted.maximum is not None and value > wanted.maximum:
            message = f"Value {value} bigger than max of {wanted.maximum}"
            return reason_of("value_bigger_than_max", message, wanted.name, extra)
    except TypeError as exc:
        raise StumblesError("TypeError", str(exc)) from None
    return None


def choice_reason(wanted: InputDef, value: Any, generation: Generation) -> Reason | None:
    if wanted.kind != COMBO_TYPE or wanted.choices is None:
        return None
    is_multiple = generation.judges_each_choice and wanted.options.get("multiselect") is True
    given = value if is_multiple and isinstance(value, list) else [value]
    wrong = [each for each in given if each not in wanted.choices]
    if not wrong:
        return None
    too_long = len(wanted.choices) > LONGEST_LIST_SENT_BACK
    listed = f"(list of length {len(wanted.choices)})" if too_long else str(list(wanted.choices))
    extra = {
        "input_name": wanted.name,
        "input_config": None if too_long else config_of(wanted),
        "received_value": value,
    }
    shown = ", ".join(map(repr, wrong)) if generation.judges_each_choice else f"'{value}'"
    details = f"{wanted.name}: {shown} not in {listed}"
    return reason_of("value_not_in_list", "Value not in list", details, extra)


def cycle_reason(ring: Sequence[str], path: str, node_id: str) -> Reason:
    """Why a node of a ring is refused; `path` names all of them with their classes."""
    extra = {"node_id": node_id, "cycle_nodes": list(ring)}
    return reason_of("dependency_cycle", "Dependency cycle detected", path, extra)


def file_reasons(node: NodeDef, inputs: Mapping[str, Any], exists: Callable[[str], bool]) -> list[Reason]:
    known = node_class(node.class_type)
    name = known.input_file or ""
    value = inputs.get(name)
    if known.refusal is None or value is None or isinstance(value, list) or exists(str(value)):
        return []
    details = f"{name} - {known.refusal.format(value)}"
    message = "Custom validation failed for node"
    return [reason_of("custom_validation_failed", message, details, {"input_name": name})]
