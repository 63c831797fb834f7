"""Shows jobs until they have ended, whatever happens to the connection meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from farm.cli.jobs.views import BarView, JsonView, LineView, View
from farm.cli.terminal.door import Door
from farm.errors import StoreUnavailable
from farm.job import JobEvent, JobRecord
from farm.store.follow import follow

if TYPE_CHECKING:
    from farm.client import Farm

PATIENCE_S: Final = 60.0  # without an answer of Redis
_TRY_AGAIN_S: Final = 1.0


def view_for(door: Door, *, json: bool) -> View:
    """Bars for a person, lines for a log, JSON for a program."""
    if json:
        return JsonView(door.out, door.err)
    return BarView(door.out) if door.lively else LineView(door.out)


def watch_jobs(farm: Farm, job_ids: Sequence[str], view: View) -> list[JobRecord]:
    """Show these jobs from their beginning to their end; returns how they ended.

    Raises:
        JobNotFound: there is no such job.
        StoreUnavailable: Redis did not answer for a minute.
    """
    waiting = [farm.get(job_id).record for job_id in dict.fromkeys(job_ids)]
    with view:
        for job in waiting:
            view.begin(job)
        try:
            for event in _events(farm, [job.job_id for job in waiting], view):
                view.event(event)
        except KeyboardInterrupt:
            view.note("no longer watched; the jobs go on: `farm watch` shows them again")
            raise
        ended = [farm.get(job.job_id).record for job in waiting]
        for job in ended:
            view.end(job)
    return ended


def _events(farm: Farm, job_ids: Sequence[str], view: View) -> Iterator[JobEvent]:
    """As `farm.store.follow`, going on where it was after Redis had been away."""
    read_until = dict.fromkeys(job_ids, "0")
    away_since: float | None = None
    while True:
        try:
            for event in follow(farm.store, read_until):
                away_since = None
                read_until[event.job_id] = event.event_id
                yield event
            return
        except StoreUnavailable as exc:
            if away_since is None:
                away_since = time.monotonic()
                view.note(f"{exc}; trying again for {PATIENCE_S:g} s")
            if time.monotonic() - away_since > PATIENCE_S:
                raise
            time.sleep(_TRY_AGAIN_S)
