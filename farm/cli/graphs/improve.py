"""Commands that make a graph better, or say what is wrong with it: optimize, lint."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import comfy.lint
from comfy.lint import Diagnostic, Severity
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import Optimized
from comfy.rewrites.optimize import optimize as rewritten
from comfy.rewrites.options import RewriteOptions
from comfy.rewrites.site import Site
from farm.asking.building import Built
from farm.asking.prepare import built_for
from farm.asking.request import JobRequest
from farm.cli.graphs.improve_views import lint_view, optimized_view
from farm.cli.graphs.options import takes_graph
from farm.cli.graphs.rewrite_options import with_rewrite_options
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say, say_notes
from farm.cli.terminal.exits import ExitCode
from farm.cli.terminal.files import write_file
from farm.errors import StoreUnavailable
from farm.fleet.sites import live_sites, site_by_name, site_nowhere

Gpu = Annotated[str | None, typer.Option(metavar="NAME", help='For this card, as "RTX 4090".')]
Vram = Annotated[float | None, typer.Option("--vram", metavar="GIB", help="For a card of this size.")]
WorkerName = Annotated[
    str | None, typer.Option("--worker", metavar="NAME", help="For this live worker; default: all that live.")
]

_UNKNOWN: Final = (
    "no live worker could be asked, so nothing that depends on a card was judged: give --gpu or --vram"
)
_CODES: Final = {Severity.ERROR: ExitCode.LINT_ERRORS, Severity.WARNING: ExitCode.LINT_WARNINGS}


@takes_graph
@with_rewrite_options
def optimize(
    context: typer.Context,
    request: JobRequest,
    gpu: Gpu = None,
    vram: Vram = None,
    worker: WorkerName = None,
    explain: Annotated[bool, typer.Option("--explain", help="With the effect of each change.")] = False,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the changed graph here.")
    ] = None,
    json: AsJson = False,
    *,
    rewriting: Mapping[str, Any],
) -> None:
    """Show what a worker would change in a graph, and why; runs nothing, writes nothing without -o."""
    door = door_of(context)
    graph = _built(door, request).graph
    options = dict(rewriting)
    accepted = options.pop("accept", ChangeKind.NEAR)
    wanted = _wanted(options)
    sites = _sites(door, graph, gpu, vram, worker)
    found = [(site, rewritten(graph, site, accept=accepted, options=wanted)) for site in sites]
    if out is not None:
        _write(out, found)
    if json:
        as_json.put(door.out, [_told(site, result) for site, result in found])
    else:
        for site, result in found:
            door.out.print(optimized_view(graph, site, result, accepted, explain=explain))
        if out is not None:
            say(door.out, f"written to {out}")


@takes_graph
def lint(
    context: typer.Context,
    request: JobRequest,
    gpu: Gpu = None,
    vram: Vram = None,
    worker: WorkerName = None,
    json: AsJson = False,
) -> None:
    """Say what is wrong, slow or without effect in a graph; ends with 10 on errors, 11 on warnings."""
    door = door_of(context)
    built = _built(door, request)
    diagnostics: dict[Diagnostic, list[str]] = {}
    for site in _sites(door, built.graph, gpu, vram, worker):
        for diagnostic in comfy.lint.lint(built.graph, site, left_out=built.left_out):
            diagnostics.setdefault(diagnostic, []).append(site.name)
    if json:
        as_json.put(
            door.out, [{**asdict(diagnostic), "sites": names} for diagnostic, names in diagnostics.items()]
        )
    else:
        door.out.print(lint_view(list(diagnostics)))
    worst = next((level for level in Severity if any(each.severity is level for each in diagnostics)), None)
    if worst in _CODES:
        raise typer.Exit(_CODES[worst])


def _built(door: Door, request: JobRequest) -> Built:
    built = built_for(request, door.node_definitions)
    say_notes(door.err, built.notes)
    return built


def _wanted(options: Mapping[str, Any]) -> RewriteOptions:
    try:
        return RewriteOptions(**options)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _sites(
    door: Door, graph: Mapping[str, Any], gpu: str | None, vram: float | None, worker: str | None
) -> list[Site]:
    """Where the graph is judged for; says so when nothing is known of a card."""
    if worker is not None and (gpu is not None or vram is not None):
        raise typer.BadParameter("--worker excludes --gpu and --vram")
    if gpu is not None or vram is not None:
        return [site_by_name(gpu, vram)]
    try:
        with door.farm() as farm:
            found = live_sites(farm.store, graph, worker=worker)
    except StoreUnavailable:
        if worker is not None:
            raise
        found = []
    if not found:
        say(door.err, _UNKNOWN)
    return found or [site_nowhere()]


def _write(out: Path, found: list[tuple[Site, Optimized]]) -> None:
    graphs = [result.graph for _, result in found]
    if any(graph != graphs[0] for graph in graphs):
        names = ", ".join(site.name for site, _ in found)
        raise typer.BadParameter(f"the workers' graphs differ; choose one with --worker: {names}")
    write_file(out, json_text.dumps(graphs[0], indent=2, ensure_ascii=False) + "\n")


def _told(site: Site, result: Optimized) -> dict[str, Any]:
    return {
        "site": site.name,
        "vram_bytes": site.vram_bytes,
        "emulated": site.emulated,
        "outcomes": [asdict(outcome) for outcome in result.outcomes],
        "graph": result.graph,
    }
