"""Commands about graphs: inspect, templates."""

from __future__ import annotations

import json as json_text
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from comfy.errors import GraphError
from comfy.graphs.graph import Graph, find_input, no_such_input
from comfy.wan.templates import TEMPLATES, get_template
from farm.asking.graphs import read_graph
from farm.asking.inspection import inspect_graph
from farm.asking.prepare import as_problem, built_for
from farm.asking.request import JobRequest
from farm.asking.saved import SavedTemplate, read_saved, save_template, saved_templates
from farm.cli.graphs.options import Bind, Parameters, request_of, takes_graph
from farm.cli.graphs.views import inspection_view, template_view, templates_table
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say
from farm.cli.terminal.files import write_file
from farm.errors import InvalidJob, Problem


@takes_graph
def inspect(
    context: typer.Context,
    request: JobRequest,
    json: AsJson = False,
) -> None:
    """Show what a graph makes, what each node is for, where values are set, what it needs."""
    door = door_of(context)
    built = built_for(request, door.node_definitions)
    found = replace(inspect_graph(built.graph), notes=built.notes)
    if json:
        as_json.put(door.out, as_json.plain(found))
    else:
        door.out.print(inspection_view(found))


def templates(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One template.", show_default=False)
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep this graph under NAME, with the names that --bind gives."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write its graph here, as -p sets it."),
    ] = None,
    editor: Annotated[
        bool, typer.Option("--editor", help="Write it as ComfyUI's editor saves it, not in API format.")
    ] = False,
    param: Parameters = None,
    bind: Bind = None,
    json: AsJson = False,
) -> None:
    """List the templates, show one with its parameters, write its graph (-o), or keep a graph as one."""
    door = door_of(context)
    if editor and out is None:
        raise typer.BadParameter("--editor says how the file is written that -o names: give -o FILE as well")
    if save is not None:
        _save(door, name, request_of(save, bind=bind))
    elif out is not None:
        _write(door, name, param, out, editor=editor)
    elif name is None:
        _list(door, json=json)
    elif (kept := None if name in TEMPLATES else read_saved(name)) is not None:
        _show_saved(door, kept, json=json)
    else:
        shown = get_template(name)
        if json:
            as_json.put(door.out, as_json.template(shown))
        else:
            door.out.print(template_view(shown))


def _list(door: Door, *, json: bool) -> None:
    kept = saved_templates()
    if json:
        built_in = [as_json.template(each) for each in TEMPLATES.values()]
        as_json.put(door.out, {"templates": built_in, "saved": kept})
        return
    door.out.print(templates_table(TEMPLATES.values()))
    if kept:
        say(door.out, f"your own: {', '.join(kept)}")


def _show_saved(door: Door, kept: SavedTemplate, *, json: bool) -> None:
    found = inspect_graph(read_graph(kept.graph))
    if json:
        about = {"name": kept.name, "bind": kept.bind}
        as_json.put(door.out, about | as_json.plain(found))
        return
    for each, input_paths in kept.bind.items():
        say(door.out, f"{each}: {', '.join(input_paths)}")
    door.out.print(inspection_view(found))


def _save(door: Door, name: str | None, request: JobRequest) -> None:
    if name is None:
        raise typer.BadParameter("say under which NAME the graph is kept")
    bind = {each: [path] if isinstance(path, str) else list(path) for each, path in request.bind.items()}
    graph = built_for(request, door.node_definitions).graph
    for each, input_paths in bind.items():
        for input_path in input_paths:
            if find_input(graph, input_path) is None:
                problem = no_such_input(graph, input_path)
                raise InvalidJob([Problem(field=f"--bind {each}", message=problem.message)])
    say(door.out, f"kept in {save_template(name, graph, bind)}; use it with --template {name}")


def _write(door: Door, name: str | None, param: list[str] | None, out: Path, *, editor: bool) -> None:
    if name is None:
        raise typer.BadParameter("say which template NAME is meant")
    request = request_of(None, name, param)
    if name in TEMPLATES:
        # The file is there to be changed: what has to be given gets something that can be seen, by lint too.
        needed = {each.name: f"<{each.name}>" for each in TEMPLATES[name].parameters if each.required}
        request = replace(request, parameters={**needed, **request.parameters})
    graph = built_for(request, door.node_definitions).graph
    written = _drawn(door, graph) if editor else graph
    write_file(out, json_text.dumps(written, indent=2, ensure_ascii=False) + "\n")
    form = "as the editor saves it" if editor else "in API format"
    say(door.out, f"written to {out}, {form}: drop it on ComfyUI's editor, or `farm submit {out}`")


def _drawn(door: Door, graph: Graph) -> dict[str, Any]:
    from comfy.ui.draw import draw

    try:
        return draw(graph, door.node_definitions())
    except GraphError as exc:
        raise InvalidJob([as_problem(problem) for problem in exc.problems]) from exc
