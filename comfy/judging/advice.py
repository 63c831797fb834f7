"""What is wrong with a graph and what to do about it, in plain words.

ComfyUI's reasons are precise and curt ("Value not in list"); the person who reads ours may never have seen
ComfyUI. Texts from a graph are shortened: they may be of any length.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final

from comfy.errors import GraphProblem
from comfy.graphs import faults
from comfy.graphs.faults import NO_INPUTS, NO_NODES, link_to_nowhere, no_link, shorten
from comfy.node_defs.definitions import Definitions

NOT_FINITE: Final = "the value is not a finite number; give a plain number"

_MOST_CHOICES_SHOWN: Final = 8


def no_outputs(graph: Mapping[Any, Any]) -> str:
    """For a graph in which nothing saves."""
    if not graph:
        return NO_NODES
    return "no node of the graph saves anything; add one that does, such as SaveVideo"


def unknown_class(node_id: str, class_type: Any, definitions: Definitions) -> GraphProblem:
    """For a node of a class that the server does not have."""
    return faults.missing_node_type(node_id, class_type, _nearest(class_type, definitions))


def not_of_the_group(name: str, first: str, last: str) -> str:
    """For an input that a growing group does not have."""
    return f"there is no input {shorten(name)}, it would be left out; this group has {first} to {last}"


def explain(node_id: str, class_type: str | None, reason: Mapping[str, Any]) -> GraphProblem:
    """One of ComfyUI's reasons, as it would tell it in `node_errors`, in plain words."""
    extra = reason.get("extra_info")
    extra = extra if isinstance(extra, Mapping) else {}
    kind = str(reason.get("type"))
    words = _WORDS.get(kind)
    message = (
        words(extra, reason) if words is not None else f"{reason.get('message')}: {reason.get('details')}"
    )
    input_name = extra.get("input_name")
    return GraphProblem(
        kind=kind,
        message=message,
        node_id=node_id,
        class_type=class_type,
        input_name=input_name if isinstance(input_name, str) else None,
    )


def _missing(extra: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    return f"the input {extra.get('input_name')} is missing; give it a value or a link"


def _not_in_list(extra: Mapping[str, Any], reason: Mapping[str, Any]) -> str:
    value = extra.get("received_value")
    config = extra.get("input_config")
    choices = choices_of(config)
    if choices is None:
        return (
            f'"{shorten(value)}" is not one of the choices ({shorten(reason.get("details"))}); pick another'
        )
    if not choices:
        return f'there is no file "{shorten(value)}", nor any other; add it to the server\'s models folder'
    near = _nearest(value, choices)
    hint = f'; did you mean "{near}"?' if near else ""
    shown = ", ".join(shorten(choice) for choice in choices[:_MOST_CHOICES_SHOWN])
    more = ", …" if len(choices) > _MOST_CHOICES_SHOWN else ""
    return f'"{shorten(value)}" is not one of the choices: {shown}{more}{hint}'


def choices_of(config: Any) -> list[Any] | None:
    """The choices in a definition as ComfyUI sends it back, of the old form or the new; None: none."""
    if not isinstance(config, list | tuple) or not config:
        return None
    if isinstance(config[0], list | tuple):
        return list(config[0])
    options = config[1].get("options") if len(config) > 1 and isinstance(config[1], Mapping) else None
    return list(options) if isinstance(options, list | tuple) else None


def _too_small(extra: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    return f"{shorten(extra.get('received_value'))} is too small; the smallest is {_limit(extra, 'min')}"


def _too_big(extra: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    return f"{shorten(extra.get('received_value'))} is too big; the biggest is {_limit(extra, 'max')}"


def _limit(extra: Mapping[str, Any], name: str) -> Any:
    config = extra.get("input_config")
    options = config[1] if isinstance(config, list | tuple) and len(config) > 1 else None
    return options.get(name) if isinstance(options, Mapping) else "unknown"


def _wrong_type(extra: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    config = extra.get("input_config")
    kind = config[0] if isinstance(config, list | tuple) and config else "value of the right type"
    return f"{shorten(extra.get('received_value'))} cannot be read as {kind}; give a value of that type"


def _bad_link(extra: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    return no_link(extra.get("received_value"))


def _type_mismatch(extra: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    config = extra.get("input_config")
    wanted = config[0] if isinstance(config, list | tuple) and config else "another type"
    link = extra.get("linked_node")
    source = (
        f"node {link[0]}, output {link[1]}" if isinstance(link, list | tuple) and len(link) == 2 else "it"
    )
    return f"a {wanted} is needed, but {source} gives a {extra.get('received_type')}; link another output"


def _stumbled(extra: Mapping[str, Any], reason: Mapping[str, Any]) -> str:
    details = shorten(reason.get("details"))
    match extra.get("exception_type"):
        case "KeyError" if details == "'inputs'":
            return NO_INPUTS
        case "KeyError":
            return link_to_nowhere(details.strip("'"))
        case "RecursionError":
            return "the chain of nodes that leads here is longer than the server can follow; shorten it"
        case "IndexError":
            return "one of its inputs is linked to an output that the other node does not have"
        case _:
            return f"it cannot be read ({details}); check its inputs and links"


def _bad_file(_: Mapping[str, Any], reason: Mapping[str, Any]) -> str:
    return f"{shorten(reason.get('details'))}; upload the file or name another"


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str]]] = {
    "required_input_missing": _missing,
    "value_not_in_list": _not_in_list,
    "value_smaller_than_min": _too_small,
    "value_bigger_than_max": _too_big,
    "invalid_input_type": _wrong_type,
    "bad_linked_input": _bad_link,
    "return_type_mismatch": _type_mismatch,
    "exception_during_inner_validation": _stumbled,
    "exception_during_validation": _stumbled,
    "custom_validation_failed": _bad_file,
}


def _nearest(value: Any, candidates: Any) -> str | None:
    """The candidate that looks most like `value`, if any does."""
    # difflib takes time that grows with the square of the length: nobody misspells a name of 200 letters.
    if not isinstance(value, str) or len(value) > 200:
        return None
    near = difflib.get_close_matches(
        value, [text for text in candidates if isinstance(text, str)], n=1, cutoff=0.75
    )
    return near[0] if near else None
