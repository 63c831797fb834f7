"""What a job's time went to before its present attempt: each second is of one phase."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from comfy.doctor.times import PastAttempt
from farm.errors import FarmError
from farm.job import AttemptNote, EventKind, JobEvent, JobState
from farm.store.base import Claim
from farm.store.roles import JobReader

log = logging.getLogger(__name__)

_LEAST_S: Final = 5.0  # whoever waited for less was not paused, or for no time that counts
_MOST_EVENTS: Final = 1000

Before = tuple[dict[str, float], tuple[PastAttempt, ...]]


def history_of(claim: Claim, worker: str, store: JobReader, *, rendered_by: int | None = None) -> Before:
    """What came before a claim by a worker, as far as the store tells; see `time_before`."""
    notes: Sequence[AttemptNote] = ()
    paused = 0.0
    try:
        if claim.attempt > 1:
            notes = store.get(claim.job_id).attempts
        if (claim.claimed_at - claim.submitted_at).total_seconds() >= _LEAST_S:
            paused = paused_s(store.events(claim.job_id, limit=_MOST_EVENTS), until=claim.claimed_at)
    except FarmError as exc:
        log.info("What a job waited for is not known", extra={"event": "waiting_unknown", "reason": str(exc)})
    notes = [note for note in notes if note.attempt < claim.attempt]
    return time_before(
        notes,
        claim.submitted_at,
        until=claim.claimed_at,
        worker=worker,
        paused_s=paused,
        rendered_by=rendered_by,
    )


def time_before(
    notes: Iterable[AttemptNote],
    submitted_at: datetime,
    *,
    until: datetime,
    worker: str = "",
    paused_s: float = 0.0,
    rendered_by: int | None = None,
) -> Before:
    """The seconds from a job's submission until a moment, as `comfy.doctor.times.JobTimes` names them.

    They add up to all that lies between the two.

    Args:
        notes: of the attempts that ended before that moment.
        worker: that has claimed it then; "" where nobody did.
        paused_s: somebody kept it from being run for so long.
        rendered_by: number of the attempt that made the files which are published now; None: it is done anew.
    """
    told = sorted(notes, key=lambda note: note.started_at)
    following = [*((note.started_at, note.worker) for note in told[1:]), (until, worker)]
    spent = _Spent(submitted_at, until)
    past: list[PastAttempt] = []
    for note, (claimed_at, claimed_by) in zip(told, following, strict=False):
        spent.on("queue", note.started_at)
        is_kept = note.outcome == "unpublished" and rendered_by is not None and note.attempt >= rendered_by
        worked_s = spent.on("unpublished" if is_kept else "earlier", note.heard_at or note.ended_at)
        silent_s = spent.on("lease", note.ended_at)
        free_at = min(_free_at(note, claimed_at, claimed_by), claimed_at)
        spent.on("held" if note.outcome == "unpublished" else "backoff", free_at)
        if not is_kept:
            past.append(_past(note, worked_s, silent_s))
    spent.on("queue", until)
    return spent.seconds(paused_s), tuple(past)


class _Spent:
    """Each second from one moment to another goes to one name, whatever clocks say."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self._reached, self._until = since, until
        self._seconds = {"queue": 0.0}

    def on(self, name: str, to: datetime) -> float:
        """What lies between the moment that was reached and this one."""
        to = max(min(to, self._until), self._reached)
        seconds = (to - self._reached).total_seconds()
        if seconds:
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        self._reached = to
        return seconds

    def seconds(self, paused_s: float) -> dict[str, float]:
        """By name; whoever was paused did not wait meanwhile."""
        paused = min(paused_s, self._seconds["queue"])
        if not paused:
            return self._seconds
        return {**self._seconds, "queue": self._seconds["queue"] - paused, "paused": paused}


def _free_at(note: AttemptNote, claimed_at: datetime, claimed_by: str) -> datetime:
    """Since when the job could be claimed again, by whoever did."""
    if note.outcome == "unpublished":
        return claimed_at  # all the while somebody asked the storage, or kept its files
    waits = [note.again_at, note.kept_until if claimed_by == note.worker else None]
    return max([each for each in waits if each is not None], default=note.ended_at)


def _past(note: AttemptNote, worked_s: float, silent_s: float) -> PastAttempt:
    return PastAttempt(
        number=note.attempt,
        worker=note.worker,
        outcome=note.outcome,
        seconds=round(worked_s, 3),
        silent_s=round(silent_s, 3),
        why=note.error.message if note.error is not None else "",
        code=note.error.code if note.error is not None else "",
    )


def paused_s(events: Iterable[JobEvent], *, until: datetime) -> float:
    """Between each "paused", or end, and what came next: it was resumed, retried, canceled or claimed."""
    total, since = 0.0, None
    for event in events:
        if event.kind is not EventKind.STATE:
            continue
        if since is not None:
            total += (min(event.at, until) - since).total_seconds()
        if event.at > until:
            break
        is_kept = event.data.get("reason") == "paused" or event.data.get("state") in _ENDED
        since = event.at if is_kept else None
    return total


_ENDED: Final = frozenset(state.value for state in JobState if state.final)
