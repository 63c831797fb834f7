"""Inputs that a node has only for certain values of others, or as many of as are linked.

Their names have dots: a dynamic list of choices ``codec`` whose choice "h264" has an input ``crf`` makes
``codec.crf``; a growing group ``values`` of inputs named a, b, c … makes ``values.a``, ``values.b``.

Source: ComfyUI ``comfy_api/latest/_io.py``, ``get_finalized_class_inputs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from comfy.node_defs.definitions import InputDef, NodeDef, Section, parse_inputs

DYNAMIC_COMBO: Final = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW: Final = "COMFY_AUTOGROW_V3"
_DYNAMIC: Final = frozenset({DYNAMIC_COMBO, AUTOGROW})
_MOST_NAMES: Final = 100  # ComfyUI's own limit
_DEEPEST: Final = 8  # real ones nest three deep


def is_dynamic(node: NodeDef) -> bool:
    """Whether the node's inputs depend on what it is given."""
    return any(each.kind in _DYNAMIC for each in node.inputs)


def inputs_for(node: NodeDef, given: Mapping[str, Any]) -> tuple[InputDef, ...]:
    """The inputs that `node` has when it is given these values, by the names that a graph uses."""
    if not is_dynamic(node):
        return node.inputs
    return tuple(_expanded(node.inputs, given, (), depth=0))


def option_inputs(combo: InputDef, key: Any) -> tuple[InputDef, ...]:
    """What a dynamic list of choices brings along when `key` is chosen, names without prefix."""
    for option in _options(combo):
        if option.get("key") == key:
            return parse_inputs(option.get("inputs"))
    return ()


def option_keys(combo: InputDef) -> tuple[Any, ...]:
    """The choices of a dynamic list."""
    return tuple(option.get("key") for option in _options(combo))


def grown_names(group: InputDef) -> tuple[str, ...]:
    """Every name that a growing group may use, without its prefix."""
    template = _template(group)
    names = template.get("names")
    if isinstance(names, Sequence) and not isinstance(names, str):
        return tuple(map(str, names[:_MOST_NAMES]))
    most = template.get("max")
    count = min(most, _MOST_NAMES) if isinstance(most, int) else 0
    return tuple(f"{template.get('prefix', '')}{number}" for number in range(count))


def grown_input(group: InputDef, number: int) -> InputDef | None:
    """What the `number`th input of a growing group takes; None when the group says nothing of it."""
    found = parse_inputs(_template(group).get("input"))
    if not found:
        return None
    least = _template(group).get("min")
    required = found[0].section is Section.REQUIRED and isinstance(least, int) and number < least
    return replace(found[0], section=Section.REQUIRED if required else Section.OPTIONAL)


def dynamic_inputs(node: NodeDef, given: Mapping[str, Any]) -> Iterator[InputDef]:
    """The dynamic lists and growing groups that `node` looks at when given these values, by full name."""
    return _dynamic(node.inputs, given, (), depth=0)


def _dynamic(
    inputs: Sequence[InputDef], given: Mapping[str, Any], prefix: tuple[str, ...], *, depth: int
) -> Iterator[InputDef]:
    for each in inputs:
        path = (*prefix, each.name)
        named = replace(each, name=".".join(path))
        if each.kind in _DYNAMIC:
            yield named
        if each.kind == DYNAMIC_COMBO and depth < _DEEPEST:
            yield from _dynamic(option_inputs(each, given.get(named.name)), given, path, depth=depth + 1)


def _expanded(
    inputs: Sequence[InputDef], given: Mapping[str, Any], prefix: tuple[str, ...], *, depth: int
) -> Iterator[InputDef]:
    for each in inputs:
        name = ".".join((*prefix, each.name))
        if each.kind == DYNAMIC_COMBO and depth < _DEEPEST:
            yield from _chosen(each, name, given, (*prefix, each.name), depth)
        elif each.kind == AUTOGROW:
            for number, grown in enumerate(grown_names(each)):
                if (wanted := grown_input(each, number)) is not None:
                    yield replace(wanted, name=f"{name}.{grown}")
        else:
            yield replace(each, name=name) if prefix else each


def _chosen(
    combo: InputDef, name: str, given: Mapping[str, Any], prefix: tuple[str, ...], depth: int
) -> Iterator[InputDef]:
    # As in ComfyUI, one that is not given, or of which the choice is unknown, is no input at all.
    key = given.get(name)
    if key not in option_keys(combo):
        return
    yield from _expanded(option_inputs(combo, key), given, prefix, depth=depth + 1)
    yield replace(combo, name=name)


def _options(combo: InputDef) -> Sequence[Mapping[str, Any]]:
    options = combo.options.get("options")
    return (
        [each for each in options if isinstance(each, Mapping)] if isinstance(options, list | tuple) else []
    )


def _template(group: InputDef) -> Mapping[str, Any]:
    template = group.options.get("template")
    return template if isinstance(template, Mapping) else {}
