"""Forms: what may be set in a template, a graph or a job, for whoever draws fields for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from comfy.wan.templates import TEMPLATES, get_template
from farm.asking.form import Field, form_of_graph, form_of_values
from farm.asking.prepare import built_for
from farm.asking.request import JobRequest
from farm.gateway.asked import asked
from farm.gateway.door import Call, Visit
from farm.gateway.keys import Scope


async def templates(_visit: Visit) -> Response:
    """The built-in templates with their parameters."""
    found = [get_template(name) for name in TEMPLATES]
    told = [
        {"name": each.name, "title": each.title, "parameters": _told(form_of_values(each.parameters, {}))}
        for each in found
    ]
    return JSONResponse({"templates": told})


async def form(visit: Visit) -> Response:
    """What may be set in what a body asks for, and the values that it has; queues nothing."""
    request, _ = await asked(visit)
    known = await visit.house.farm.node_definitions()

    def fields() -> tuple[Field, ...]:
        if request.template is not None:
            return _of_template(request)
        return form_of_graph(built_for(request, lambda: known).graph)

    told = _told(await visit.house.farm.call(fields))
    return JSONResponse({"template": request.template, "parameters": told})


def _of_template(request: JobRequest) -> tuple[Field, ...]:
    parameters = get_template(str(request.template)).parameters
    return form_of_values(parameters, request.parameters)


def _told(fields: Iterable[Field]) -> list[dict[str, Any]]:
    return [
        {
            "name": each.parameter.name,
            "type": each.parameter.kind.value,
            "help": each.parameter.help,
            "takes": each.parameter.takes,
            "unit": each.parameter.unit,
            "required": each.parameter.required,
            "default": each.parameter.default,
            "by_default": each.parameter.by_default,
            "choices": list(each.parameter.choices),
            "value": each.value,
        }
        for each in fields
    ]


FORMS: Final = (
    Call(method="GET", path="/templates", handler=templates, scope=Scope.READ),
    Call(method="POST", path="/form", handler=form, scope=Scope.READ),
)
