"""Commands about jobs: submit, validate, ls, show, watch, cancel, retry, pull, open."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm.asking.request import notes_of, with_seeds
from farm.asking.selection import Selection
from farm.cli import as_json
from farm.cli.as_json import AsJson
from farm.cli.door import Door, door_of, say, say_notes
from farm.cli.exits import ExitCode
from farm.cli.graph_options import Bind, GraphFile, Inputs, Parameters, Snap, Template, request_of
from farm.cli.ids import complete_id, whole_id
from farm.cli.opening import open_with_system, say_link
from farm.cli.rewrite_options import (
    Accept,
    AttentionOption,
    KeepMetadata,
    Lightning,
    Limit,
    Mp4,
    rewrite_options,
)
from farm.cli.tables import job_view, jobs_table, result_view, video_words
from farm.cli.watching import view_for, watch_jobs
from farm.cli.words import parse_moment, size
from farm.downloads import DEFAULT_NAME
from farm.errors import JobFailed
from farm.handle import Job, Result
from farm.job import JobRecord, JobState
from farm.steering import ids_of

if TYPE_CHECKING:
    from farm.client import Farm

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id, or its beginning.", autocompletion=complete_id)
]
JobIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="JOB...", help="Ids, or beginnings.", autocompletion=complete_id),
]
SomeJobIds = Annotated[
    list[str], typer.Argument(metavar="JOB...", help="Ids, or beginnings.", autocompletion=complete_id)
]
Labels = Annotated[list[str] | None, typer.Option("--label", "-l", help="A label; may be repeated.")]


def submit(
    context: typer.Context,
    file: GraphFile = None,
    template: Template = None,
    param: Parameters = None,
    input_: Inputs = None,
    bind: Bind = None,
    snap: Snap = False,
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
    accept: Accept = None,
    attention: AttentionOption = None,
    lightning: Lightning = False,
    keep_metadata: KeepMetadata = False,
    mp4: Mp4 = False,
    limit: Limit = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Take the result of an equal job that had --reuse too.")
    ] = False,
    count: Annotated[int, typer.Option(min=1, help="So many jobs, each with its own seed.")] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all have ended.")] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Longest wait.")] = None,
    watch_: Annotated[bool, typer.Option("--watch", help="Show progress until all have ended.")] = False,
    json: AsJson = False,
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
        **rewrite_options(
            accept, attention, lightning=lightning, keep_metadata=keep_metadata, mp4=mp4, limit=limit
        ),
    }
    request = request_of(file, template, param, input_, bind, snap=snap, options=options)
    with door.farm() as farm:
        say_notes(door.err, notes_of(request, farm.node_definitions))
        if count > 1:
            jobs = farm.submit_many(with_seeds(request, count, farm.node_definitions))
        else:
            jobs = [farm.submit_one(request)]
        ids = [job.job_id for job in jobs]
        if json and not watch_ and not wait:
            as_json.put(door.out, {"jobs": ids})
        elif not json:
            say(door.out, "\n".join(ids))
        if watch_:
            _show_ends(door, farm, watch_jobs(farm, ids, view_for(door, json=json)), json=json)
        elif wait:
            ended = _wait_all(jobs, timeout)
            if json:
                as_json.put(door.out, [as_json.record(job) for job in ended])
            _show_ends(door, farm, ended, json=json)


def validate(
    context: typer.Context,
    file: GraphFile = None,
    template: Template = None,
    param: Parameters = None,
    input_: Inputs = None,
    bind: Bind = None,
    snap: Snap = False,
    json: AsJson = False,
) -> None:
    """Check a job as submit does, and store nothing."""
    door = door_of(context)
    with door.farm() as farm:
        checked = farm.checked(request_of(file, template, param, input_, bind, snap=snap))
    say_notes(door.err, checked.notes)
    spec, workers = checked.spec, checked.workers
    if json:
        models = [f"{model.folder}/{model.name}" for model in spec.requirements.models]
        about = {"title": spec.title, "vram_gib": spec.requirements.vram_gib, "models": models}
        as_json.put(door.out, {"valid": True, "workers": workers, **about})
        return
    held = f"{workers} live workers would take it" if workers else "no live worker could be asked"
    say(door.out, f"valid: {spec.title}; VRAM class {spec.requirements.vram_gib} GiB; {held}")


def ls(
    context: typer.Context,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    label: Annotated[str | None, typer.Option("--label", "-l", help="Only jobs with this label.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs submitted since, such as 2h.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 30,
    json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    door = door_of(context)
    after = parse_moment(since, past=True) if since else None
    with door.farm() as farm:
        found = [job.record for job in islice(farm.list(state=state, label=label, since=after), limit)]
    if json:
        as_json.put(door.out, [as_json.listed(job) for job in found])
    else:
        door.out.print(jobs_table(found) if found else "no jobs")


def show(context: typer.Context, job: JobId, json: AsJson = False) -> None:
    """Show all that is known of a job: state, attempts and why they ended, files, a link."""
    door = door_of(context)
    with door.farm() as farm:
        found = farm.get(whole_id(farm, job))
        url = found.result().url() if found.record.result else None
        waits_for = farm.why_waiting(found.job_id)
    if json:
        as_json.put(door.out, {**as_json.record(found.record), "url": url, "waits_for": waits_for})
    else:
        door.out.print(job_view(found.record))
        for line in waits_for:
            say(door.out, f"waits: {line}")
        if url is not None:
            say_link(door.out, "link", url)


def watch(context: typer.Context, jobs: JobIds = None, json: AsJson = False) -> None:
    """Follow jobs live until they end; without ids, those that run or wait now."""
    door = door_of(context)
    with door.farm() as farm:
        ids = [whole_id(farm, job) for job in jobs or ()] or _unfinished(farm)
        if not ids:
            say(door.err, "no job runs or waits")
            return
        _show_ends(door, farm, watch_jobs(farm, ids, view_for(door, json=json)), json=json)


def cancel(
    context: typer.Context,
    jobs: SomeJobIds,
    reason: Annotated[
        str, typer.Option(help="Told to who waits for the job, and kept with it (500 characters).")
    ] = "",
    json: AsJson = False,
) -> None:
    """Ask for the end of jobs; one that runs stops as soon as its node yields."""
    door = door_of(context)
    with door.farm() as farm:
        states = {job_id: farm.cancel(job_id, reason=reason) for job_id in [whole_id(farm, j) for j in jobs]}
    if json:
        as_json.put(door.out, states)
        return
    for job_id, state in states.items():
        words = "stopping" if state is JobState.RUNNING else str(state)
        say(door.out, f"{job_id} {words}")


def retry(
    context: typer.Context,
    jobs: JobIds = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every failed job.")] = False,
    label: Annotated[
        str | None, typer.Option("--label", "-l", help="With --all-failed: only those with this label.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --all-failed: only tell which ones it would be.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Queue failed, canceled or expired jobs anew, under their ids."""
    door = door_of(context)
    if bool(jobs) == all_failed:
        raise typer.BadParameter("name jobs, or give --all-failed")
    if dry_run and not all_failed:
        raise typer.BadParameter("--dry-run goes with --all-failed")
    with door.farm() as farm:
        if all_failed:
            _retry_failed(door, farm, label, dry_run=dry_run, json=json)
            return
        done = [farm.retry(whole_id(farm, job)).job_id for job in jobs or ()]
    if json:
        as_json.put(door.out, {"jobs": done})
    else:
        say(door.out, "\n".join(f"{job_id} queued" for job_id in done))


def pull(
    context: typer.Context,
    jobs: SomeJobIds,
    into: Annotated[Path, typer.Option("--into", "-o", metavar="DIR", help="Where to.")] = Path(),
    name: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Names of the files, with {title} {seed} {job} {node} {file} {number}."
        ),
    ] = DEFAULT_NAME,
    json: AsJson = False,
) -> None:
    """Download the files of succeeded jobs, each checked against its hash; nothing is overwritten."""
    door = door_of(context)
    pulled: list[dict[str, Any]] = []
    with door.farm() as farm:
        wanted = [farm.get(job_id) for job_id in dict.fromkeys(whole_id(farm, job) for job in jobs)]
        without = [job for job in wanted if job.record.result is None]
        for job in wanted:
            if job in without:
                say(door.err, f"{job.job_id} has no result: it is {job.state}")
                continue
            paths = job.result().download(into, name=name)
            pulled.append({"job": job.job_id, "files": [str(path) for path in paths]})
            if not json:
                _say_files(door, job.result(), paths)
    if json:
        as_json.put(door.out, {"jobs": pulled})
    if without:
        raise typer.Exit(ExitCode.JOB_FAILED)


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


def _say_files(door: Door, result: Result, paths: Sequence[Path]) -> None:
    for path, artifact in zip(paths, result.facts.artifacts, strict=True):
        say(door.out, f"{path}  {video_words(artifact)}, {size(artifact.size_bytes)}")


def _wait_all(jobs: Sequence[Job], timeout_s: float | None) -> list[JobRecord]:
    until = None if timeout_s is None else time.monotonic() + timeout_s
    for job in jobs:
        try:
            job.wait(None if until is None else max(until - time.monotonic(), 0.0))
        except JobFailed:
            job.refresh()
    return [job.record for job in jobs]


def _show_ends(door: Door, farm: Farm, jobs: Sequence[JobRecord], *, json: bool) -> None:
    """The files of what succeeded; ends the command with 1 when something did not."""
    if not json:
        for job in jobs:
            if job.result is not None and job.state is JobState.SUCCEEDED:
                door.out.print(result_view(job.result))
                say_link(door.out, "link", Job(farm, job.job_id, job).result().url())
    if any(job.state is not JobState.SUCCEEDED for job in jobs):
        raise typer.Exit(ExitCode.JOB_FAILED)


def _unfinished(farm: Farm, limit: int = 50) -> list[str]:
    running = [job.job_id for job in islice(farm.list(state=JobState.RUNNING), limit)]
    queued = [job.job_id for job in islice(farm.list(state=JobState.QUEUED), limit - len(running))]
    return running + queued


def _retry_failed(door: Door, farm: Farm, label: str | None, *, dry_run: bool, json: bool) -> None:
    """Each id as soon as it is queued, and how many there were: there may be very many."""
    failed = Selection(state=JobState.FAILED, label=label)
    ids = iter(ids_of(farm.store, failed)) if dry_run else farm.retry_many(failed)
    if json:
        as_json.put(door.out, {"jobs": list(ids), "dry_run": dry_run})
        return
    count = 0
    for job_id in ids:
        say(door.out, f"{job_id} {'would be queued' if dry_run else 'queued'}")
        count += 1
    words = "would be queued" if dry_run else "queued"
    say(door.err, f"{count} failed jobs {words}" if count else "no failed jobs")
