"""Shows jobs until they have ended, whatever happens to the connection meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import Final

from farm.cli.jobs.tracking import RUNNING_SHOWN, Look, Tracker
from farm.cli.jobs.views import FEW, BoardView, JsonView, LineView, View
from farm.cli.terminal.door import Door
from farm.cli.terminal.pictures import way_of
from farm.errors import JobNotFound, StoreUnavailable
from farm.job import EventKind, JobEvent, JobRecord, JobState
from farm.store.base import JobBrief
from farm.store.roles import JobReader

PATIENCE_S: Final = 60.0  # without an answer of Redis
_TRY_AGAIN_S: Final = 1.0
_LOOK_S: Final = 0.25  # between two looks
_REST: Final = 9  # times what a look has cost, so that a hundred thousand jobs take a tenth of a core
_MOST_ENDS: Final = 50  # told one by one, of those that ended between two looks
_MOST_EVENTS: Final = 1000  # of one job in one round trip


def view_for(door: Door, *, json: bool) -> View:
    """A board for a person, lines for a log, JSON for a program."""
    if json:
        return JsonView(door.out, door.err)
    return BoardView(door.out, way_of(os.environ)) if door.lively else LineView(door.out)


def watch_jobs(store: JobReader, job_ids: Iterable[str], view: View) -> Look:
    """Show these jobs until each has ended or is held; returns the last look.

    Raises:
        JobNotFound: there is no such job.
        StoreUnavailable: Redis did not answer for a minute.
    """
    watch = _Watch(store, job_ids, view)
    with view:
        try:
            look = watch.begin()
            while look.goes_on:
                began = time.process_time()
                look = watch.go_on()
                time.sleep(max(_LOOK_S, _REST * (time.process_time() - began)))
        except KeyboardInterrupt:
            view.note("no longer watched; the jobs go on: `farm watch` shows them again")
            raise
        view.finish(look)
    return look


class _Watch:
    """What has been shown of the jobs, and what comes next: an outage in between loses nothing."""

    def __init__(self, store: JobReader, job_ids: Iterable[str], view: View) -> None:
        self._store = store
        self._view = view
        self._tracker = Tracker(store, job_ids)
        self._ended: list[JobBrief] = []
        self._news: list[JobEvent] = []
        self._whole_stories: list[str] = []  # jobs that are told from their beginning, running or not
        self._read_until: dict[str, str] = {}  # of each job whose story is told: its last event
        self._away_since: float | None = None

    def begin(self) -> Look:
        """Show what is watched."""
        look = self._tracker.look()
        few = [self._store.get(job_id) for job_id in self._tracker.ids] if look.total <= FEW else []
        self._view.begin(look, few)
        self._whole_stories = [job.job_id for job in few]
        return self.go_on()

    def go_on(self) -> Look:
        """Show what came since; asks again and again while Redis is away.

        Raises:
            StoreUnavailable: it has been for too long.
        """
        while True:
            try:
                look = self._tracker.look()
                self._show(look)
            except StoreUnavailable as exc:
                self._be_patient(exc)
            else:
                self._away_since = None
                return look

    def _be_patient(self, exc: StoreUnavailable) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._view.note(f"{exc}; trying again for {PATIENCE_S:g} s")
        if time.monotonic() - self._away_since > PATIENCE_S:
            raise exc
        time.sleep(_TRY_AGAIN_S)

    def _show(self, look: Look) -> None:
        self._ended += look.ended
        if self._view.shows_events:
            self._read_news()
        elif self._view.shows_previews:
            self._read_previews()
        ends = self._ends_to_tell()
        for event in self._news:
            self._view.event(event)
        self._view.show(look, ends)
        self._ended, self._news = [], []

    def _read_news(self) -> None:
        while self._whole_stories:
            self._read_on(self._whole_stories[0])
            del self._whole_stories[0]
        for job_id in self._tracker.running:
            self._read_until.setdefault(job_id, "0")
        for job_id, news in self._store.news(self._read_until, limit=_MOST_EVENTS).items():
            self._take(job_id, news)
        for each in self._ended:
            with contextlib.suppress(JobNotFound):  # somebody has removed it since
                self._read_on(each.job_id)
            self._read_until.pop(each.job_id, None)

    def _read_previews(self) -> None:
        """The newest of each job from now on: what came before is no news on a screen."""
        now_ms = str(time.time_ns() // 1_000_000)
        for job_id in self._tracker.running[:RUNNING_SHOWN]:
            self._read_until.setdefault(job_id, now_ms)
        for job_id, news in self._store.news(self._read_until, limit=_MOST_EVENTS).items():
            self._read_until[job_id] = news[-1].event_id
            self._news += [event for event in news if event.kind is EventKind.PREVIEW][-1:]
        for each in self._ended:
            self._read_until.pop(each.job_id, None)

    def _read_on(self, job_id: str) -> None:
        """All that there is of a job's story: one that nobody claimed yet has no stream to wait for."""
        while news := self._store.events(job_id, after=self._read_until.get(job_id, "0"), limit=_MOST_EVENTS):
            self._take(job_id, news)

    def _take(self, job_id: str, news: list[JobEvent]) -> None:
        self._news += news
        self._read_until[job_id] = news[-1].event_id

    def _ends_to_tell(self) -> list[JobRecord]:
        """Of more than can be read those that a person has to look at."""
        told = sorted(self._ended, key=lambda each: each.state is JobState.SUCCEEDED)[:_MOST_ENDS]
        records = []
        for each in told:
            try:
                records.append(self._store.get(each.job_id))
            except JobNotFound:  # somebody has removed it since
                continue
        return records
