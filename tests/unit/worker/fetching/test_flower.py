"""What Flower shows of a job is what the ledger says of it, in whatever order Celery thinks states come."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.events.state import State

from farm.job import Artifact, ErrorKind, JobError, JobRecord, JobResult, JobState, Progress
from tests.support.jobs import a_job
from worker.fetching.flower import Told, nothing_known, outcome_told, progress_told, shown_by

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ERROR = JobError(kind=ErrorKind.JOB, code="graph_rejected", message="node 7 has no model")
CLIP = Artifact(key="clips/a/fox.mp4", size_bytes=1, sha256="0" * 64, media_type="video/mp4")
RECORD = JobRecord(
    job_id="j1",
    spec=a_job().spec,
    state=JobState.RUNNING,
    submitted_at=NOON,
    queue="q",
    attempt=1,
    worker="b@c",
)
SUCCEEDED = replace(
    RECORD,
    state=JobState.SUCCEEDED,
    claimed_at=NOON,
    finished_at=NOON + timedelta(seconds=90),
    result=JobResult(bucket="b", artifacts=(CLIP,), manifest_key="m"),
)
FAILED = replace(RECORD, state=JobState.FAILED, error=ERROR)
CANCELED = replace(RECORD, state=JobState.CANCELED, cancel_reason="the wrong fox")
EXPIRED = replace(RECORD, state=JobState.EXPIRED)
AGAIN = replace(RECORD, state=JobState.QUEUED, error=ERROR)
PROGRESS = progress_told(Progress(phase="sample_high", fraction=0.25, step=3, steps=10, seconds_per_step=1.5))


class Screen:
    """Celery's own picture of the tasks, which Flower shows."""

    def __init__(self) -> None:
        self._state: Any = State()
        self._clock = itertools.count(1)

    def hear(self, kind: str, **fields: Any) -> None:
        self._state.event(
            {
                "type": kind,
                "uuid": "j1",
                "hostname": "a@b",
                "clock": next(self._clock),
                "timestamp": 1.0,
                "local_received": 1.0,
                **fields,
            }
        )

    def hear_told(self, told: Told) -> None:
        self.hear(told.kind, **told.fields)

    def begin(self) -> None:
        self.hear("task-received", name="farm.render", args="A fox")
        self.hear("task-started")

    @property
    def task(self) -> Any:
        return self._state.tasks["j1"]


OUTCOMES = {
    "succeeded": (outcome_told(SUCCEEDED, "succeeded"), "SUCCESS", "clips/a/fox.mp4"),
    "failed": (outcome_told(FAILED, "failed"), "FAILURE", "graph_rejected: node 7 has no model"),
    "canceled": (outcome_told(CANCELED, "canceled"), "REVOKED", "canceled: the wrong fox"),
    "expired": (
        outcome_told(EXPIRED, "dropped: expired"),
        "REVOKED",
        "expired: its deadline passed before a worker took it",
    ),
    "tried again": (outcome_told(AGAIN, "queued"), "RETRY", "waits again: node 7 has no model"),
    "given back": (outcome_told(AGAIN, "given back"), "RETRY", "waits again: given back"),
    "not its turn": (outcome_told(AGAIN, "dropped: not_yet"), "RETRY", "waits again: not_yet"),
    "elsewhere": (outcome_told(RECORD, "dropped: not_queued"), "PROGRESS", "runs on b@c"),
    "forgotten": (outcome_told(None, "dropped: unknown"), "REVOKED", "the farm has no such job"),
    "not known": (nothing_known(), "UNKNOWN", nothing_known().fields["result"]),
}


@pytest.mark.parametrize(("told", "state", "result"), OUTCOMES.values(), ids=OUTCOMES)
def test_a_job_that_rendered_is_shown_as_it_ended(told: Told, state: str, result: str) -> None:
    screen = Screen()
    screen.begin()
    screen.hear_told(PROGRESS)

    screen.hear_told(told)

    assert (screen.task.state, screen.task.result) == (state, result)
    assert screen.task.args == "A fox"


@pytest.mark.parametrize("before", OUTCOMES)
@pytest.mark.parametrize("after", OUTCOMES)
def test_the_last_that_was_told_of_a_job_stands(before: str, after: str) -> None:
    screen = Screen()
    screen.begin()
    screen.hear_told(OUTCOMES[before][0])

    screen.begin()
    screen.hear_told(PROGRESS)
    assert (screen.task.state, screen.task.result) == ("PROGRESS", "25% sample_high 3/10, 1.50 s/step")
    screen.hear_told(OUTCOMES[after][0])

    assert screen.task.state == OUTCOMES[after][1]


def test_the_runtime_of_a_job_is_that_of_the_attempt_which_made_the_clip() -> None:
    assert outcome_told(SUCCEEDED, "succeeded").fields["runtime"] == 90.0


def test_a_redis_that_is_away_ends_nothing() -> None:
    app = Celery(broker="redis://127.0.0.1:1/0", broker_connection_timeout=0.1)

    shown_by(app, "a@b")("j1", PROGRESS)
