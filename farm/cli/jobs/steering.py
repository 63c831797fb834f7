"""Commands that steer jobs, one or thousands: cancel, retry, pause, resume, priority, rm, pull."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm.cli.jobs.selecting import Chosen, DryRun, Yes, agreed, meant, named, selects
from farm.cli.jobs.views import bytes_bar
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say
from farm.cli.terminal.exits import ExitCode
from farm.cli.terminal.tables import video_words
from farm.cli.terminal.words import size
from farm.handle import Result
from farm.job import DEFAULT_PRIORITY, LEAST_URGENT, MOST_URGENT, JobRecord, JobState
from farm.storage.downloads import DEFAULT_NAME, Extra

if TYPE_CHECKING:
    from farm.client import Farm

_States = Mapping[str, JobState]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What a command does to each of its jobs."""

    act: Callable[[Farm, Sequence[str]], _States]
    done: str  # "canceled"
    takes: Callable[[JobRecord], bool]  # whether it would do anything to a job, of a selection
    fits: Callable[[JobState], bool]  # whether it was possible, by the state that a job was in
    words: Callable[[JobState], str] | None = None  # of what was done; default: `done`

    def told(self, state: JobState) -> str:
        """What became of a job."""
        if not self.fits(state):
            return f"not {self.done.split()[0]}: it is {state}"
        return self.words(state) if self.words is not None else self.done


@selects
def cancel(
    context: typer.Context,
    chosen: Chosen,
    reason: Annotated[
        str, typer.Option(help="Told to who waits for the job, and kept with it (500 characters).")
    ] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Ask for the end of jobs; one that runs stops as soon as its node yields."""
    order = _Order(
        act=lambda farm, ids: farm.cancel_many(ids, reason=reason),
        done="canceled",
        takes=_goes_on,
        fits=lambda state: not state.final or state is JobState.CANCELED,
        words=lambda state: "stopping" if state is JobState.RUNNING else str(state),
    )
    _steer(door_of(context), chosen, order, dry_run=dry_run, yes=yes, json=json)


@selects
def pause(
    context: typer.Context, chosen: Chosen, dry_run: DryRun = False, yes: Yes = False, json: AsJson = False
) -> None:
    """Keep waiting jobs from being run until they are resumed; one that runs goes on."""
    order = _Order(act=lambda farm, ids: farm.pause_many(ids), done="paused", takes=_waits, fits=_is_queued)
    _steer(door_of(context), chosen, order, dry_run=dry_run, yes=yes, json=json)


@selects
def resume(
    context: typer.Context, chosen: Chosen, dry_run: DryRun = False, yes: Yes = False, json: AsJson = False
) -> None:
    """Let paused jobs run, before others of their priority."""
    order = _Order(
        act=lambda farm, ids: farm.resume_many(ids),
        done="resumed",
        takes=_is_paused,
        fits=_is_queued,
        words=str,
    )
    _steer(door_of(context), chosen, order, dry_run=dry_run, yes=yes, json=json)


@selects
def priority(
    context: typer.Context,
    chosen: Chosen,
    to: Annotated[
        int,
        typer.Option("--to", min=MOST_URGENT, max=LEAST_URGENT, help="0 is the most urgent, 9 the least."),
    ] = DEFAULT_PRIORITY,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Move waiting jobs to the front of another priority; one that runs goes on."""
    order = _Order(
        act=lambda farm, ids: farm.prioritize_many(ids, to),
        done=f"moved to priority {to}",
        takes=_waits,
        fits=_is_queued,
        words=lambda state: f"{state}, priority {to}",
    )
    _steer(door_of(context), chosen, order, dry_run=dry_run, yes=yes, json=json)


@selects
def rm(
    context: typer.Context, chosen: Chosen, dry_run: DryRun = False, yes: Yes = False, json: AsJson = False
) -> None:
    """Remove jobs that have ended for good: their records, and their files in S3."""
    order = _Order(
        act=lambda farm, ids: farm.remove_many(ids),
        done="removed",
        takes=_has_ended,
        fits=lambda state: state.final,
    )
    _steer(door_of(context), chosen, order, dry_run=dry_run, yes=yes, json=json)


@selects
def retry(
    context: typer.Context,
    chosen: Chosen,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="As --state failed.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Queue failed, canceled or expired jobs anew, under their ids."""
    door = door_of(context)
    with door.farm() as farm:
        if chosen.jobs and not dry_run:
            # Of one that is named a person wants to hear why it cannot be.
            queued = [farm.retry(job.job_id).job_id for job in meant(farm, chosen)]
        else:
            state = JobState.FAILED if all_failed else None
            found = meant(farm, chosen, state=state, takes=_ended_badly, dry_run=dry_run)
            ids = [job.job_id for job in found]
            if not agreed(
                door, found, "queued", chosen=chosen, dry_run=dry_run, yes=yes or all_failed, json=json
            ):
                return
            queued = list(farm.retry_many(ids))
    if json:
        as_json.put(door.out, {"jobs": queued, "dry_run": False})
        return
    for job_id in queued:
        say(door.out, f"{job_id} queued")
    if not chosen.jobs:
        say(door.err, f"{len(queued):,} jobs queued" if queued else "no job that ended badly is among them")


@selects
def pull(
    context: typer.Context,
    chosen: Chosen,
    into: Annotated[Path, typer.Option("--into", "-o", metavar="DIR", help="Where to.")] = Path(),
    name: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Names of the files, with {title} {seed} {job} {node} {file} {number}."
        ),
    ] = DEFAULT_NAME,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="WHAT", help=f"Also {', '.join(Extra)}; comma between them, or repeated."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Download the files of succeeded jobs, each checked against its hash; nothing is overwritten."""
    door = door_of(context)
    pulled: list[dict[str, Any]] = []
    with door.farm() as farm:
        # Of a selection only what has files is meant; one that is named and has none is told.
        wanted = [job for job in meant(farm, chosen) if chosen.jobs or job.result is not None]
        if not wanted and not json:
            say(door.err, "no jobs with a result")
        without = [job for job in wanted if job.result is None]
        for job in without:
            say(door.err, f"{job.job_id} has no result: it is {job.state}")
        with bytes_bar(door, [job.result for job in wanted if job.result is not None], json=json) as progress:
            ids = [job.job_id for job in wanted]
            extras = [each for some in with_ or () for each in some.split(",") if each]
            for done, paths in farm.pull_many(ids, into, name=name, extras=extras, progress=progress):
                pulled.append({"job": done.job_id, "files": [str(path) for path in paths]})
                if not json:
                    _say_files(door, done.result(), paths)
    if json:
        as_json.put(door.out, {"jobs": pulled})
    if without:
        raise typer.Exit(ExitCode.JOB_FAILED)


def _steer(door: Door, chosen: Chosen, order: _Order, *, dry_run: bool, yes: bool, json: bool) -> None:
    with door.farm() as farm:
        if chosen.names_alone and not dry_run:
            ids = named(farm, chosen)
        else:
            found = meant(farm, chosen, takes=order.takes, dry_run=dry_run)
            if not agreed(door, found, order.done, chosen=chosen, dry_run=dry_run, yes=yes, json=json):
                return
            ids = [job.job_id for job in found]
        states = order.act(farm, ids)
    if json:
        as_json.put(door.out, states)
    else:
        for job_id, state in states.items():
            say(door.out, f"{job_id} {order.told(state)}")
        if not states:
            say(door.err, f"no job that could be {order.done} is among them")
    if not all(order.fits(state) for state in states.values()):
        raise typer.Exit(ExitCode.NOT_NOW)


def _goes_on(job: JobRecord) -> bool:
    return not job.state.final


def _has_ended(job: JobRecord) -> bool:
    return job.state.final


def _ended_badly(job: JobRecord) -> bool:
    return job.state.final and job.state is not JobState.SUCCEEDED


def _waits(job: JobRecord) -> bool:
    return job.state is JobState.QUEUED


def _is_queued(state: JobState) -> bool:
    return state is JobState.QUEUED


def _is_paused(job: JobRecord) -> bool:
    return job.paused_at is not None


def _say_files(door: Door, result: Result, paths: Sequence[Path]) -> None:
    for path, artifact in zip_longest(paths, result.facts.artifacts):
        what = f"  {video_words(artifact)}, {size(artifact.size_bytes)}" if artifact is not None else ""
        say(door.out, f"{path}{what}")
