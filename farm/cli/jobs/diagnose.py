"""`farm diagnose`: where a job's seconds went, or those of any log, or of the whole fleet."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from comfy.doctor.diagnose import diagnose as diagnose_log
from comfy.doctor.html import page
from comfy.doctor.report import Report
from comfy.doctor.words import to_json
from comfy.wan.cards import known_card, unknown_card
from farm.asking.graphs import read_graph
from farm.cli.jobs.diagnose_views import fleet_view, report_view
from farm.cli.jobs.ids import WHOLE_LENGTH, complete_id, whole_id
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say
from farm.cli.terminal.exits import ExitCode
from farm.cli.terminal.files import write_file
from farm.cli.terminal.words import parse_moment
from farm.errors import StoreUnavailable
from farm.job import is_job_id
from farm.reports import why_no_report

if TYPE_CHECKING:
    from farm.client import Farm

_STDIN: Final = "-"


def diagnose(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="JOB|FILE|-",
            help="A job, a log, or - for stdin.",
            autocompletion=complete_id,
            show_default=False,
        ),
    ] = "",
    graph: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the log's prompts ran: a workflow file of ComfyUI."),
    ] = None,
    card: Annotated[
        str | None, typer.Option(metavar="NAME", help='Of a log that does not say it, as "RTX 4090".')
    ] = None,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="Add up what all jobs have lost, by worker.")
    ] = False,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="With --fleet: submitted since then, such as 24h.")
    ] = "24h",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that needs no network.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Say where a job's seconds went, or those of any ComfyUI log, what was lost, and what to change."""
    door = door_of(context)
    is_log = what == _STDIN or Path(what).is_file()
    _refuse_what_is_known(graph, card, of_log=is_log and not fleet)
    if fleet:
        if what or html is not None:
            raise typer.BadParameter("--fleet adds up all jobs: it takes no job, no log and no --html")
        _of_fleet(door, since, json=json)
        return
    if not what:
        raise typer.BadParameter("name a job or a log, or give --fleet")
    report = _of_log(what, graph, card) if is_log else _of_job(door, what)
    if html is not None:
        name = "stdin" if what == _STDIN else Path(what).name
        write_file(html, page(report, f"Where the seconds of {name} went"))
    if json:
        as_json.put(door.out, to_json(report))
        return
    door.out.print(report_view(report, width=min(door.out.width, 100)))
    if html is not None:
        say(door.err, f"written: {html}")


def _refuse_what_is_known(graph: Path | None, card: str | None, *, of_log: bool) -> None:
    """A job's graph and card are in its report: others would change nothing, and nobody would be told."""
    given = [name for name, value in (("--graph", graph), ("--card", card)) if value is not None]
    if given and not of_log:
        raise typer.BadParameter(f"{' and '.join(given)}: for a log; of jobs the farm knows graph and card")


def _of_log(what: str, graph: Path | None, card: str | None) -> Report:
    if card is not None and known_card(card) is None:
        raise typer.BadParameter(unknown_card(card))
    try:
        read = read_graph(graph.read_bytes()) if graph is not None else None
        if what == _STDIN:
            return diagnose_log(sys.stdin.buffer, graph=read, card=card)
        with Path(what).open("rb") as log:
            return diagnose_log(log, graph=read, card=card)
    except OSError as exc:
        raise typer.BadParameter(f"{exc.filename}: {exc.strerror}") from exc


def _of_job(door: Door, what: str) -> Report:
    is_whole = len(what.strip()) >= WHOLE_LENGTH
    # Most folders' names could be the beginning of an id; one that has a whole id as its name is of that job.
    if Path(what).is_dir() and not is_whole:
        raise typer.BadParameter(f"{what}: that is a folder, not a log; name a file in it")
    if not is_job_id(what.strip().lower().ljust(8, "0")):
        raise typer.BadParameter(f"{what}: there is no such file, and it is no job's id")
    with _farm_of(door, "" if is_whole else what) as farm:
        job_id = whole_id(farm, what)
        report = farm.diagnose(job_id)
        if report is None:
            record = farm.get(job_id).record
            say(door.err, f"job {job_id} is {record.state} and has no report: {why_no_report(record)}")
            raise typer.Exit(ExitCode.JOB_FAILED)
    return report


def _farm_of(door: Door, maybe_file: str) -> Farm:
    """The farm that is asked for a job; where there is none, it may be that a file was meant."""
    try:
        return door.farm()
    except StoreUnavailable:
        if maybe_file:
            say(door.err, f"{maybe_file}: there is no such file here, so a job is looked for")
        raise


def _of_fleet(door: Door, since: str, *, json: bool) -> None:
    with door.farm() as farm:
        found = farm.diagnose_fleet(parse_moment(since, past=True))
    if json:
        as_json.put(door.out, asdict(found))
    else:
        door.out.print(fleet_view(found))
