"""`farm diagnose`: where a job's seconds went, or those of any log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from comfy.doctor.diagnose import diagnose as diagnose_log
from comfy.doctor.html import page
from comfy.doctor.report import Report
from comfy.doctor.words import to_json
from farm.asking.graphs import read_graph
from farm.cli.jobs.diagnose_views import report_view
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import door_of, say

_STDIN: Final = "-"


def diagnose(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="FILE", help="A log; - reads it from stdin.")],
    graph: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What was run: a workflow file of ComfyUI.")
    ] = None,
    card: Annotated[
        str | None, typer.Option(metavar="NAME", help='Of a log that does not say it, as "RTX 4090".')
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that needs no network.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Say where a job's seconds went, or those of any ComfyUI log, what was lost, and what to change."""
    door = door_of(context)
    report = _of_log(what, graph, card)
    if html is not None:
        name = "stdin" if what == _STDIN else Path(what).name
        html.write_text(page(report, f"Where the seconds of {name} went"), encoding="utf-8")
    if json:
        as_json.put(door.out, to_json(report))
        return
    door.out.print(report_view(report, width=min(door.out.width, 100)))
    if html is not None:
        say(door.err, f"written: {html}")


def _of_log(what: str, graph: Path | None, card: str | None) -> Report:
    try:
        read = read_graph(graph.read_bytes()) if graph is not None else None
        if what == _STDIN:
            return diagnose_log(sys.stdin.buffer, graph=read, card=card)
        with Path(what).open("rb") as log:
            return diagnose_log(log, graph=read, card=card)
    except OSError as exc:
        raise typer.BadParameter(f"{exc.filename}: {exc.strerror}") from exc
