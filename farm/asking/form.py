"""The form of a graph: what a person may set in it, by what it is for, with the values that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.errors import GraphError
from comfy.graphs.graph import Graph
from comfy.graphs.values import Setting
from comfy.wan.binding import input_paths_of, role_parameter
from comfy.wan.models import Expert
from comfy.wan.parameters import Parameter, ParameterKind
from comfy.wan.parts import Lora
from comfy.wan.roles import Roles
from farm.asking.graphs import roles_of

_FIRST: Final = ("prompt", "negative", "start_image", "end_image")
_LAST: Final = ("seed", "width", "height", "frames", "fps", "steps", "cfg", "shift")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing that may be set; its parameter's name is what `Farm.submit` takes."""

    parameter: Parameter
    value: Any  # as it stands; None: it is not known before the graph runs


def form_of_graph(graph: Graph) -> tuple[Field, ...]:
    """What may be set in a checked graph. A role with several values is a field for each of them."""
    roles = roles_of(graph)
    others = sorted({*roles.settings} - {*_FIRST, *_LAST})
    fields = [
        field
        for role in (*_FIRST, *others, *_LAST)
        if roles.of(role)
        for field in _of_role(graph, roles, role)
    ]
    return (*fields, *_loras(roles))


def form_of_values(parameters: tuple[Parameter, ...], values: Mapping[str, Any]) -> tuple[Field, ...]:
    """A template's own form, with the values that a job was given."""
    return tuple(Field(parameter=each, value=values.get(each.name)) for each in parameters)


def _of_role(graph: Graph, roles: Roles, role: str) -> Iterator[Field]:
    parameter = role_parameter(graph, roles, role)
    try:
        input_paths_of(graph, roles, role, {})
    except GraphError:
        # It means several things, or is computed: each of its inputs that stands in the graph is a field.
        for path, each in _set_in_graph(roles, role).items():
            told = replace(parameter, name=path, help=f"{role}, {parameter.help}".rstrip(", "))
            yield Field(parameter=told, value=each.value)
    else:
        yield Field(parameter=parameter, value=roles.value(role))


def _set_in_graph(roles: Roles, role: str) -> dict[str, Setting]:
    return {str(each.set_at): each for each in roles.of(role) if not each.is_computed}


def _loras(roles: Roles) -> Iterator[Field]:
    seen: set[str] = set()
    for stage in roles.stages:
        of = "" if stage.expert is Expert.SINGLE else f" of the {stage.expert}-noise expert"
        for lora in stage.loras:
            if str(lora.file.set_at) not in seen and not lora.file.is_computed:
                seen.add(str(lora.file.set_at))
                yield from _of_lora(lora, of)


def _of_lora(lora: Lora, of: str) -> Iterator[Field]:
    file = Parameter(name=str(lora.file.set_at), kind=ParameterKind.TEXT, help=f"LoRA{of}")
    yield Field(parameter=file, value=lora.file.value)
    if lora.strength is not None and not lora.strength.is_computed:
        name = str(lora.strength.set_at)
        strength = Parameter(name=name, kind=ParameterKind.NUMBER, help=f"strength of the LoRA{of}")
        yield Field(parameter=strength, value=lora.strength.value)
