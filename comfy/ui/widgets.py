"""A node's widget values by the names of the inputs that they stand for.

The editor saves a plain list. Which value belongs to which input follows from the node's definition, in the
order in which the editor makes widgets: required inputs, then optional ones, each followed by what it brings
along.

Source: ComfyUI's frontend, ``litegraphService`` (widgets of a node), ``useIntWidget`` and ``widgets.ts``
(control after generate), ``uploadImage.ts``; VideoHelperSuite ``web/js/VHS.core.js`` (formats).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.node_defs.definitions import (
    COMBO_TYPE,
    InputDef,
    NodeDef,
    Section,
    parse_inputs,
)
from comfy.node_defs.dynamic_inputs import (
    DYNAMIC_COMBO,
    option_inputs,
    option_keys,
)

_WIDGET_KINDS: Final = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", COMBO_TYPE, DYNAMIC_COMBO, "COLOR"})
_NUMBERS: Final = frozenset({"INT", "FLOAT"})
_SEEDS: Final = frozenset({"seed", "noise_seed"})
# What stands behind a seed: what the editor does with it after a run.
_CONTROLS: Final = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
_CUSTOM_COMBO: Final = "CustomCombo"
_UPLOADS: Final = frozenset({"image", "video", "audio", "file"})  # values of the editor's upload buttons


class ShiftedValuesError(ValueError):
    """A value cannot be that of the input it stands for: the node had other widgets when it was saved."""

    def __init__(self, name: str, kind: str, value: Any) -> None:
        super().__init__(
            f"the file's widget values do not fit this version of the node: {value!r:.40} stands where "
            f"{name} ({kind}) is expected; save the workflow anew in a ComfyUI with this version of the "
            "node, or export it with Workflow > Export (API)"
        )
        self.name = name


@dataclass(slots=True)
class _Values:
    """The saved list, taken from the front."""

    left: list[Any]

    def take(self) -> Any:
        return self.left.pop(0) if self.left else None

    def skip(self, *choices: frozenset[str]) -> bool:
        """Drop the next value if it is one of these words."""
        found = bool(self.left) and isinstance(self.left[0], str) and any(self.left[0] in c for c in choices)
        if found:
            self.left.pop(0)
        return found


def widget_values(node: NodeDef, saved: Any) -> dict[str, Any]:
    """Input name -> value of every widget; where nothing was saved, what a new node would have.

    Raises:
        ShiftedValuesError: the saved list cannot be that of this node.
    """
    if isinstance(saved, Mapping):
        return _by_name(node, saved)
    if node.class_type == _CUSTOM_COMBO:
        return _of_custom_combo(listed(saved))
    values = _Values(list(saved) if isinstance(saved, list | tuple) else [])
    found: dict[str, Any] = {}
    for section in (Section.REQUIRED, Section.OPTIONAL):
        for each in node.of(section):
            _take(each, values, found)
        if section is Section.REQUIRED and any(each.is_upload for each in node.of(section)):
            values.skip(_UPLOADS)
    return found


def is_widget(wanted: InputDef) -> bool:
    """Whether the editor shows the input as a widget."""
    if wanted.options.get("forceInput") or wanted.section is Section.HIDDEN:
        return False
    kinds = {wanted.kind, str(wanted.options.get("widgetType"))}
    return _is_unsaved(wanted) or not kinds.isdisjoint(_WIDGET_KINDS)


def _is_unsaved(wanted: InputDef) -> bool:
    """Whether it is one of the editor's views: it has a value to send, which no file keeps."""
    return bool(wanted.options.get("socketless")) and wanted.kind not in _WIDGET_KINDS


def _of_custom_combo(values: Sequence[Any]) -> dict[str, Any]:
    """A list of choices of the user's own: the choice, its number (newer editors), then the choices."""
    if not values:
        return {}
    choice, *options = values
    if options and isinstance(options[0], int):
        return {"choice": choice, "index": options[0]}
    return {"choice": choice, "index": options.index(choice) if choice in options else 0}


def _take(wanted: InputDef, values: _Values, found: dict[str, Any], prefix: str = "") -> None:
    if not is_widget(wanted):
        return
    name = prefix + wanted.name
    if _is_unsaved(wanted):
        found[name] = ""
        return
    if wanted.kind in _NUMBERS:
        # A control that another version of the node had and this one has not.
        values.skip(_CONTROLS)
    value = _fitting(wanted, name, values.take())
    if value is not None:
        found[name] = value
    if _has_control(wanted) and values.skip(_CONTROLS) and wanted.kind == COMBO_TYPE:
        values.take()  # the filter that goes with the control of a list
    for more in _brought_along(wanted, value):
        _take(more, values, found, f"{name}." if wanted.kind == DYNAMIC_COMBO else "")


def _brought_along(wanted: InputDef, value: Any) -> Iterator[InputDef]:
    """The widgets that appear because of a choice: a dynamic list's, or those of a video format."""
    if wanted.kind == DYNAMIC_COMBO:
        yield from option_inputs(wanted, value)
    formats = wanted.options.get("formats")
    if isinstance(formats, Mapping):
        yield from format_inputs(formats.get(value))


def format_inputs(listed: Any) -> Iterator[InputDef]:
    """VideoHelperSuite's way to write the inputs of one format: ``[name, type or choices, options]``."""
    for each in listed if isinstance(listed, list | tuple) else ():
        if isinstance(each, list | tuple) and len(each) >= 2 and isinstance(each[0], str):
            yield from parse_inputs({"optional": {each[0]: list(each[1:3])}})


def _has_control(wanted: InputDef) -> bool:
    return bool(wanted.options.get("control_after_generate")) or (
        wanted.kind == "INT" and wanted.name in _SEEDS
    )


def _fitting(wanted: InputDef, name: str, value: Any) -> Any:
    """The value as the input takes it; its default when there is none."""
    if value is None:
        return _default(wanted)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = wanted.kind
    if kind in _NUMBERS and not is_number and (isinstance(value, bool) or not _is_numeral(value)):
        raise ShiftedValuesError(name, kind, value)
    if kind == "BOOLEAN" and not isinstance(value, bool | int | float):
        raise ShiftedValuesError(name, kind, value)
    if kind == "STRING" and isinstance(value, bool | Mapping):
        raise ShiftedValuesError(name, kind, value)
    if kind == COMBO_TYPE and isinstance(value, list | tuple):
        return {"__value__": list(value)}  # a bare list would be a link
    return value


def _is_numeral(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _default(wanted: InputDef) -> Any:
    if wanted.default is not None:
        return wanted.default
    if wanted.kind == DYNAMIC_COMBO:
        return next(iter(option_keys(wanted)), None)
    if wanted.kind == COMBO_TYPE:
        return next(iter(wanted.choices or ()), None)
    return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}.get(wanted.kind)


def _by_name(node: NodeDef, saved: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if node.class_type == _CUSTOM_COMBO:
        return {name: saved[name] for name in ("choice", "index") if name in saved}
    waiting: list[InputDef] = [*node.of(Section.REQUIRED), *node.of(Section.OPTIONAL)]
    while waiting:
        wanted = waiting.pop(0)
        if not is_widget(wanted):
            continue
        value = "" if _is_unsaved(wanted) else _fitting(wanted, wanted.name, saved.get(wanted.name))
        if value is not None:
            found[wanted.name] = value
        prefix = f"{wanted.name}." if wanted.kind == DYNAMIC_COMBO else ""
        more = [replace(each, name=prefix + each.name) for each in _brought_along(wanted, value)]
        waiting[:0] = more
    return found


def listed(saved: Any) -> Sequence[Any]:
    """Saved widget values as a list; empty when they are by name or missing."""
    return saved if isinstance(saved, list | tuple) else ()
