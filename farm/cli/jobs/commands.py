"""Commands about jobs: submit, validate, ls, show, watch, open."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from farm.asking.prepare import notes_of
from farm.asking.request import JobRequest
from farm.asking.seeds import with_seeds
from farm.asking.selection import Selection, looks, select_ids
from farm.cli.graphs.options import takes_graph, with_options
from farm.cli.graphs.rewrite_options import with_rewrite_options
from farm.cli.jobs.diagnose_views import findings_view
from farm.cli.jobs.ids import complete_id, whole_id
from farm.cli.jobs.selecting import Chosen, meant, selects
from farm.cli.jobs.views import FEW
from farm.cli.jobs.watching import view_for, watch_jobs
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say, say_notes
from farm.cli.terminal.exits import ExitCode
from farm.cli.terminal.opening import open_with_system, say_link
from farm.cli.terminal.tables import COLUMNS, DEFAULT_COLUMNS, job_view, jobs_table, result_view
from farm.cli.terminal.words import parse_moment
from farm.handle import Job
from farm.job import JobRecord, JobState
from farm.reports import report_in

if TYPE_CHECKING:
    from farm.client import Farm

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id, or its beginning.", autocompletion=complete_id)
]
_BATCH: Final = 500  # jobs that are stored, and told, at once
_MOST_JOBS: Final = 100_000  # of one command: more is a slip of the finger
_MOST_PAGES: Final = 1_000_000
_LONGEST_SEARCH_S: Final = 20.0  # before `ls` shows what it has found
Labels = Annotated[list[str] | None, typer.Option("--label", "-l", help="A label; may be repeated.")]


@takes_graph
@with_rewrite_options
def submit(
    context: typer.Context,
    request: JobRequest,
    priority: Annotated[int | None, typer.Option(help="0 is the most urgent, 9 the least.")] = None,
    label: Labels = None,
    title: Annotated[
        str | None, typer.Option(help="What lists show; may hold {prompt}, {seed}, any parameter.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not started by then: expired. Such as 2h.")
    ] = None,
    time_limit: Annotated[float | None, typer.Option(metavar="SECONDS", help="Of one attempt.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Failed attempts before the job fails.")] = None,
    vram_gib: Annotated[int | None, typer.Option("--vram", help="Smallest VRAM class in GiB.")] = None,
    park: Annotated[
        bool, typer.Option("--park", help="When no live worker fits: wait for one, instead of being refused.")
    ] = False,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same twice is one job.")] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Take the result of an equal job that had --reuse too.")
    ] = False,
    count: Annotated[
        int, typer.Option(min=1, max=_MOST_JOBS, help="So many jobs, each with its own seed.")
    ] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all have ended.")] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Longest wait.")] = None,
    watch_: Annotated[bool, typer.Option("--watch", help="Show progress until all have ended.")] = False,
    json: AsJson = False,
    *,
    rewriting: Mapping[str, Any],
) -> None:
    """Queue a job: a graph file or a template. Prints its id."""
    door = door_of(context)
    options: dict[str, Any] = {
        "title": title,
        "priority": priority,
        "labels": label,
        "deadline": parse_moment(deadline, past=False) if deadline else None,
        "time_limit_s": time_limit,
        "max_attempts": max_attempts,
        "vram_gib": vram_gib,
        "if_unplaceable": "park" if park else None,
        "idempotency_key": key,
        "reuse": reuse or None,
        **rewriting,
    }
    request = with_options(request, options)
    with door.farm() as farm:
        say_notes(door.err, notes_of(request, farm.node_definitions))
        jobs: list[Job] = []
        for some in _submitted(farm, request, count):
            jobs += some
            if not json:
                # At once: whoever ends the command knows what is stored by then.
                say(door.out, "\n".join(job.job_id for job in some))
        ids = [job.job_id for job in jobs]
        if json and not watch_ and not wait:
            as_json.put(door.out, {"jobs": ids})
        if watch_:
            _watch(door, farm, ids, json=json)
        elif wait:
            ended = [job.record for job in farm.wait_many(ids, timeout_s=timeout)]
            if json:
                as_json.put(door.out, [as_json.record(job) for job in ended])
            for job in ended:
                if job.reason is not None:
                    say(door.err, f"{job.job_id} {job.state}: {job.reason}")
            _show_files(door, farm, ended[:FEW], json=json)
            if any(job.state is not JobState.SUCCEEDED for job in ended):
                raise typer.Exit(ExitCode.JOB_FAILED)


@takes_graph
def validate(
    context: typer.Context,
    request: JobRequest,
    json: AsJson = False,
) -> None:
    """Check a job as submit does, and store nothing."""
    door = door_of(context)
    with door.farm() as farm:
        checked = farm.checked(request)
    say_notes(door.err, checked.notes)
    spec, workers = checked.spec, checked.workers
    if json:
        models = [f"{model.folder}/{model.name}" for model in spec.requirements.models]
        about = {"title": spec.title, "vram_gib": spec.requirements.vram_gib, "models": models}
        as_json.put(door.out, {"valid": True, "workers": workers, **about})
        return
    who = f"{workers} live worker{'' if workers == 1 else 's'} would take it"
    held = who if workers else "no live worker could be asked"
    say(door.out, f"valid: {spec.title}; VRAM class {spec.requirements.vram_gib} GiB; {held}")


@selects
def ls(
    context: typer.Context,
    chosen: Chosen,
    columns: Annotated[
        str,
        typer.Option(metavar="NAMES", help=f"Of {', '.join(COLUMNS)}, or any parameter; comma between them."),
    ] = DEFAULT_COLUMNS,
    limit: Annotated[int, typer.Option(min=1, max=_MOST_JOBS, help="At most so many, newest first.")] = 30,
    page: Annotated[
        int, typer.Option(min=1, max=_MOST_PAGES, help="The first so many, the next so many, …")
    ] = 1,
    json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    door = door_of(context)
    first = (page - 1) * limit
    with door.farm() as farm:
        found, back_to = _listed(farm, chosen.selection(farm), skip=first, limit=limit)
    if back_to is not None:
        say(door.err, f"not searched to the end; --until {back_to:%Y-%m-%dT%H:%M:%S.%fZ} goes on from here")
    if json:
        as_json.put(door.out, [as_json.listed(job) for job in found])
        return
    door.out.print(jobs_table(found, columns.split(",")) if found else "no jobs")
    if len(found) == limit:
        say(door.err, f"page {page}; --page {page + 1} has the next ones")


@selects
def show(context: typer.Context, chosen: Chosen, json: AsJson = False) -> None:
    """Show all that is known of jobs: what they ask for, how attempts ended, files, a link."""
    door = door_of(context)
    shown = []
    with door.farm() as farm:
        for number, job in enumerate(meant(farm, chosen)):
            url = Job(farm, job.job_id, job).result().url() if job.result is not None else None
            waits_for = farm.why_waiting(job.job_id)
            if json:
                shown.append({**as_json.record(job), "url": url, "waits_for": waits_for})
                continue
            if number:
                say(door.out, "")
            door.out.print(job_view(job))
            report = report_in(job)
            if report is not None and report.findings:
                say(door.out, f"findings, by seconds lost (farm diagnose {job.job_id[:12]} has more):")
                door.out.print(findings_view(report))
            for line in waits_for:
                say(door.out, f"waits: {line}")
            if url is not None:
                say_link(door.out, "link", url)
    if json:
        as_json.put(door.out, shown[0] if chosen.is_one and shown else shown)


@selects
def watch(context: typer.Context, chosen: Chosen, json: AsJson = False) -> None:
    """Follow jobs live until they end or are held; without any, those that run or wait now."""
    door = door_of(context)
    with door.farm() as farm:
        ids = _unfinished(farm) if chosen.is_empty else list(select_ids(farm.store, chosen.selection(farm)))
        if not ids:
            say(door.err, "no job runs or waits" if chosen.is_empty else "no such job")
            return
        _watch(door, farm, ids, json=json)


def open_clip(
    context: typer.Context,
    job: JobId,
    json: AsJson = False,
) -> None:
    """Show the clip of a succeeded job, with what this system opens links with; else print its link."""
    door = door_of(context)
    with door.farm() as farm:
        url = farm.get(whole_id(farm, job)).result().url()
    opened = open_with_system(url)
    if json:
        as_json.put(door.out, {"url": url, "opened": opened})
    elif not opened:
        say_link(door.out, "link", url)


def _listed(
    farm: Farm, wanted: Selection, *, skip: int, limit: int
) -> tuple[list[JobRecord], datetime | None]:
    """Some jobs, and since when they were submitted where older ones were not looked at for want of time."""
    found: list[JobRecord] = []
    began = time.monotonic()
    for look in looks(farm.store, wanted, skip=skip):
        found += look.jobs[: limit - len(found)]
        if len(found) == limit:
            break
        if look.back_to is not None and time.monotonic() - began > _LONGEST_SEARCH_S:
            return found, look.back_to
    return found, None


def _submitted(farm: Farm, request: JobRequest, count: int) -> Iterator[list[Job]]:
    """The jobs of a request, as many as are stored in one round trip at a time."""
    if count == 1:
        yield [farm.submit_one(request)]
        return
    each = with_seeds(request, count, farm.node_definitions)
    while some := list(islice(each, _BATCH)):
        yield farm.submit_many(some)


def _watch(door: Door, farm: Farm, ids: Sequence[str], *, json: bool) -> None:
    """Show jobs until each has ended or is held, then the files of a few; the exit code says how it was."""
    look = watch_jobs(farm.store, ids, view_for(door, json=json))
    if len(ids) <= FEW:
        _show_files(door, farm, [farm.get(job_id).record for job_id in ids], json=json)
    if look.done > look.counts.get(JobState.SUCCEEDED, 0):
        raise typer.Exit(ExitCode.JOB_FAILED)
    if look.held_count:
        raise typer.Exit(ExitCode.TIMED_OUT)


def _show_files(door: Door, farm: Farm, jobs: Sequence[JobRecord], *, json: bool) -> None:
    if json:
        return
    for job in jobs:
        if job.result is not None and job.state is JobState.SUCCEEDED:
            door.out.print(result_view(job.result))
            say_link(door.out, "link", Job(farm, job.job_id, job).result().url())


def _unfinished(farm: Farm) -> list[str]:
    wanted = (Selection(state=state) for state in (JobState.RUNNING, JobState.QUEUED))
    return [job_id for each in wanted for job_id in select_ids(farm.store, each)]
