"""What an installed node takes: nothing else may be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comfy.node_defs.definitions import COMBO_TYPE, InputDef, NodeDef, Section
from comfy.node_defs.dynamic_inputs import inputs_for
from comfy.node_defs.node_classes import VIDEO_COMBINE


def offered_input(node: NodeDef, inputs: Mapping[str, Any], name: str) -> InputDef | None:
    """The input of that name which the node has, with the choices made; None: it has none.

    Args:
        inputs: as the graph gives them: the format chosen, and the choices of dynamic lists, decide which
            further inputs there are.
    """
    plain = node.input(name)
    if plain is not None:
        return plain
    for wanted in inputs_for(node, inputs):
        if wanted.name == name and wanted.section is not Section.HIDDEN:
            return wanted
    told = False
    for wanted in format_inputs(node, inputs):
        told = True
        if wanted.name == name:
            return wanted
    # Its further inputs depend on the format; without a list of them, what a graph has is what there is.
    if node.class_type == VIDEO_COMBINE and not told and name in inputs:
        return InputDef(name=name, section=Section.OPTIONAL, kind="*")
    return None


def format_inputs(node: NodeDef, inputs: Mapping[str, Any]) -> Iterator[InputDef]:
    """The further inputs that the chosen format has, where the server tells them.

    Source: VideoHelperSuite videohelpersuite/nodes.py, ``VideoCombine.INPUT_TYPES``, option ``formats``.
    """
    for wanted in node.inputs:
        formats = wanted.options.get("formats")
        chosen = inputs.get(wanted.name)
        if not isinstance(formats, Mapping) or not isinstance(chosen, str):
            continue
        for widget in formats.get(chosen) or ():
            if isinstance(widget, list | tuple) and len(widget) >= 2 and isinstance(widget[0], str):
                yield _widget(widget[0], widget[1], widget[2] if len(widget) > 2 else None)


def _widget(name: str, kind: Any, options: Any) -> InputDef:
    listed = isinstance(kind, list | tuple)
    return InputDef(
        name=name,
        section=Section.OPTIONAL,
        kind=COMBO_TYPE if listed else str(kind),
        choices=tuple(kind) if listed else None,
        options=options if isinstance(options, Mapping) else {},
    )


def fault_of(wanted: InputDef, value: Any) -> str | None:
    """Say why an input does not take a literal; None when it does, or nothing is known of it."""
    if wanted.choices is not None:
        return None if value in wanted.choices else f"{wanted.name} does not offer {value!r}"
    for bound, bad in ((wanted.minimum, _below), (wanted.maximum, _above)):
        if isinstance(bound, int | float) and isinstance(value, int | float) and bad(value, bound):
            return f"{wanted.name} takes no {value}: the bound is {bound}"
    return None


def _below(value: float, bound: float) -> bool:
    return value < bound


def _above(value: float, bound: float) -> bool:
    return value > bound
