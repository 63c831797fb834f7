"""Which jobs a command is about: by id, or by what holds for them. The options are declared once, here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from farm.asking.selection import Selection, select_ids
from farm.cli.jobs.ids import complete_id, whole_id
from farm.cli.terminal import as_json
from farm.cli.terminal.door import Door, say
from farm.cli.terminal.shared_options import sharing
from farm.cli.terminal.words import parse_moment, parse_pairs, parse_value
from farm.errors import JobNotFound
from farm.job import JobRecord, JobState

if TYPE_CHECKING:
    from farm.client import Farm

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell which jobs it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however many jobs it is.")]
_HANDFUL: Final = 5  # so many are done without asking
_SHOWN_OF_MANY: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the options of a command say of the jobs that are meant."""

    jobs: Sequence[str] | None
    state: JobState | None
    label: str | None
    since: str | None
    until: str | None
    where: Sequence[str] | None
    search: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        given = (self.jobs, self.state, self.label, self.since, self.until, self.where, self.search)
        return not any(given)

    @property
    def is_one(self) -> bool:
        """Whether one job was named, and nothing else was said."""
        return len(self.jobs or ()) == 1 and self.names_alone

    @property
    def names_alone(self) -> bool:
        """Whether jobs were named, and nothing else was said."""
        others = (self.state, self.label, self.since, self.until, self.where, self.search)
        return bool(self.jobs) and not any(others)

    def selection(self, farm: Farm, *, state: JobState | None = None) -> Selection:
        """What is meant.

        Args:
            state: where none was given.

        Raises:
            BadParameter: an id, a time or a pair cannot be read.
            JobNotFound: there is no job whose id begins so.
        """
        pairs = parse_pairs(self.where or (), option="--where")
        if compared := [name for name in pairs if name.endswith(("<", ">", "!"))]:
            raise typer.BadParameter(f"--where compares with = alone, not with {compared[0][-1]}=")
        return Selection(
            ids=tuple(whole_id(farm, job) for job in self.jobs or ()),
            state=self.state or state,
            label=self.label,
            since=parse_moment(self.since, past=True) if self.since else None,
            until=parse_moment(self.until, past=True) if self.until else None,
            where={name: parse_value(value) for name, value in pairs.items()},
            search=self.search,
        )


def _chosen(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB", help="Ids, or beginnings.", autocompletion=complete_id),
    ] = None,
    state: Annotated[JobState | None, typer.Option(help="Jobs in this state.")] = None,
    label: Annotated[str | None, typer.Option("--label", "-l", help="Jobs with this label.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Submitted since, such as 2h or 2026-11-23T20:00.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Submitted before.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="NAME=VALUE",
            help="With this value: seed=7, worker=a, 6.text=…; may be repeated.",
        ),
    ] = None,
    search: Annotated[str, typer.Option(metavar="WORDS", help="Words of the prompt, title or labels.")] = "",
) -> Chosen:
    return Chosen(jobs=jobs, state=state, label=label, since=since, until=until, where=where, search=search)


selects = sharing("chosen", _chosen)


def meant(
    farm: Farm,
    chosen: Chosen,
    *,
    state: JobState | None = None,
    takes: Callable[[JobRecord], bool] = lambda _: True,
    dry_run: bool = False,
) -> list[JobRecord]:
    """The jobs that a command is about.

    Args:
        takes: whether it would do anything to a job; one that is named is told why not, and so goes along
            unless it is only asked what would be done.

    Raises:
        BadParameter: nothing says which.
    """
    if chosen.is_empty and state is None:
        raise typer.BadParameter(
            "say which jobs: their ids, or --label, --state, --since, --until, --where, --search"
        )
    found = [job.record for job in farm.select(chosen.selection(farm, state=state))]
    return found if chosen.jobs and not dry_run else [job for job in found if takes(job)]


def named(farm: Farm, chosen: Chosen) -> list[str]:
    """The ids of jobs that were named, without a look at what is stored of each.

    Raises:
        JobNotFound: there is no such job.
    """
    ids = list(select_ids(farm.store, chosen.selection(farm)))
    known = farm.store.briefs(ids)
    if missing := [job_id for job_id in ids if job_id not in known]:
        raise JobNotFound(missing[0])
    return ids


def agreed(
    door: Door,
    jobs: Sequence[JobRecord],
    act: str,
    *,
    chosen: Chosen,
    dry_run: bool,
    yes: bool,
    json: bool,
) -> bool:
    """Whether to go on: not with `--dry-run`, which lists the jobs; asked for once when they are many.

    Args:
        act: what would be done to them, as "canceled".

    Raises:
        BadParameter: they are many, and nobody is there to be asked.
    """
    count = f"{len(jobs):,} job{'' if len(jobs) == 1 else 's'}"
    if dry_run and json:
        as_json.put(door.out, {"jobs": [job.job_id for job in jobs], "dry_run": True})
        return False
    if dry_run:
        for job in jobs:
            say(door.out, f"{job.job_id} {job.spec.title}")
        say(door.err, f"{count} would be {act}")
        return False
    if yes or chosen.jobs or len(jobs) <= _HANDFUL:
        return True
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{count} would be {act}: give --yes, or --dry-run to see them")
    for job in jobs[:_SHOWN_OF_MANY]:
        say(door.err, f"{job.job_id[:12]} {job.spec.title}")
    return typer.confirm(f"{count} will be {act}. Go on?", err=True)
