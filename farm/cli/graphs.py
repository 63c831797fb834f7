"""Commands about graphs: inspect, templates."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter

from comfy.errors import GraphError
from comfy.wan.templates import TEMPLATES, get_template
from farm.cli import as_json
from farm.cli.door import door_of
from farm.cli.graph_options import Bind, GraphFile, Inputs, Parameters, Snap, Template, request_of
from farm.cli.graph_views import inspection_view, template_view, templates_table
from farm.cli.jobs import AsJson
from farm.errors import InvalidJob
from farm.inspection import Inspection, inspect_graph
from farm.request import as_problem, build

_INSPECTION: Final = TypeAdapter(Inspection)


def inspect(
    context: typer.Context,
    file: GraphFile = None,
    template: Template = None,
    param: Parameters = None,
    input_: Inputs = None,
    bind: Bind = None,
    snap: Snap = False,
    json: AsJson = False,
) -> None:
    """Show what a graph makes, what each node is for, where values are set, and what it needs."""
    door = door_of(context)
    try:
        built = build(request_of(file, template, param, input_, bind, snap=snap))
    except GraphError as exc:
        raise InvalidJob([as_problem(problem) for problem in exc.problems]) from exc
    found = inspect_graph(built.graph)
    if json:
        as_json.put(door.out, _INSPECTION.dump_python(found, mode="json"))
    else:
        door.out.print(inspection_view(found))


def templates(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One template.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """List the templates, or show one with its parameters and presets."""
    door = door_of(context)
    shown = [get_template(name)] if name is not None else list(TEMPLATES.values())
    if json:
        described = [as_json.template(each) for each in shown]
        answer: Any = described[0] if name is not None else described
        as_json.put(door.out, answer)
    else:
        door.out.print(template_view(shown[0]) if name is not None else templates_table(shown))
