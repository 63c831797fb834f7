"""A pause is told apart from waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from farm.job import EventKind, JobEvent
from worker.jobs.waiting import paused_s

START = datetime(2026, 11, 30, 4, tzinfo=UTC)


def told(at_s: int, reason: str | None, kind: EventKind = EventKind.STATE) -> JobEvent:
    data = {"state": "queued", **({"reason": reason} if reason else {})}
    return JobEvent(
        event_id=f"{at_s}-0", job_id="a", at=START + timedelta(seconds=at_s), kind=kind, data=data
    )


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([told(0, None)], 0),
        ([told(0, None), told(10, "paused"), told(70, "resumed")], 60),
        ([told(10, "paused"), told(20, "resumed"), told(30, "paused"), told(60, "resumed")], 40),
        ([told(10, "paused"), told(15, "x", EventKind.LOG), told(70, "resumed")], 60),
        ([told(10, "paused"), told(70, "resumed"), told(200, "paused"), told(400, "resumed")], 60),
        ([], 0),
    ],
    ids=["never", "once", "twice", "with other news", "after the claim", "nothing known"],
)
def test_seconds_between_pause_and_resume_are_counted(events: list[JobEvent], seconds: float) -> None:
    assert paused_s(events, until=START + timedelta(seconds=100)) == seconds
