"""What Flower shows of a job: Celery's events, saying what the ledger says. They decide nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery, states

from farm.job import JobRecord, JobState, Progress

log = logging.getLogger(__name__)

_PROGRESS: Final = "PROGRESS"
_UNKNOWN: Final = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event about a job, under the job's own id."""

    kind: str  # as Celery names it: "task-failed", …; another one is a state of its own
    fields: Mapping[str, Any]


Show = Callable[[str, Told], None]  # tells it of the job with that id, now; raises nothing


def progress_told(progress: Progress) -> Told:
    """How far a job is: share, phase, step and pace in a few words."""
    step = f" {progress.step}/{progress.steps}" if progress.steps else ""
    pace = f", {progress.seconds_per_step:.2f} s/step" if progress.seconds_per_step else ""
    return _told("task-progress", _PROGRESS, f"{progress.fraction:.0%} {progress.phase}{step}{pace}")


def outcome_told(record: JobRecord | None, outcome: str) -> Told:
    """How it stands with a job once a message of it was worked off.

    Args:
        record: of the job; None when the farm knows it no more.
        outcome: of the message, which may have found the job in other hands.
    """
    if record is None:
        return _told("task-revoked", states.REVOKED, "the farm has no such job")
    match record.state:
        case JobState.SUCCEEDED:
            clip = record.result.main.key if record.result is not None else ""
            return _told("task-succeeded", states.SUCCESS, clip, runtime=_seconds(record))
        case JobState.FAILED:
            code = (
                f"{record.error.code}: " if record.error is not None else ""
            )  # first: a list shows the beginning
            return _told("task-failed", states.FAILURE, f"{code}{record.reason}", exception=record.reason)
        case JobState.CANCELED | JobState.EXPIRED:
            return _told(
                "task-revoked",
                states.REVOKED,
                f"{record.state}: {record.reason}",
                expired=record.state is JobState.EXPIRED,
                terminated=False,
                signum=None,
            )
        case JobState.RUNNING:
            return _told("task-progress", _PROGRESS, f"runs on {record.worker}")
        case JobState.QUEUED:
            booked = record.error is not None and outcome == JobState.QUEUED
            why = record.error.message if booked and record.error else outcome.removeprefix("dropped: ")
            return _told("task-retried", states.RETRY, f"waits again: {why}", exception=why)


def nothing_known() -> Told:
    """The ledger could not be asked."""
    return _told("task-unknown", _UNKNOWN, "the ledger could not be read; `farm show` tells how it stands")


def _told(kind: str, state: str, result: str, **fields: Any) -> Told:
    # The state itself too: Celery holds that a progress comes after a revocation, and a failure after both,
    # whatever their order; a canceled job would stay in PROGRESS, and one tried again in FAILURE.
    return Told(kind=kind, fields={"state": state, "result": result, **fields})


def _seconds(record: JobRecord) -> float | None:
    """From the claim of the attempt that made the result to its end."""
    if record.claimed_at is None or record.finished_at is None:
        return None
    return (record.finished_at - record.claimed_at).total_seconds()


def shown_by(app: Celery, name: str) -> Show:
    """Tell by this app, in the name of this worker."""

    def show(job_id: str, told: Told) -> None:
        try:
            with app.events.default_dispatcher(hostname=name) as dispatcher:
                dispatcher.send(told.kind, uuid=job_id, **told.fields)
        except Exception as exc:  # noqa: BLE001 - a view: a Redis that is away for a moment must not end a render
            log.debug("Flower was not told of a job", extra={"event": "flower_not_told", "reason": str(exc)})

    return show
