"""What came before an attempt is told apart: waiting, pauses, and the attempts that came to nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from comfy.doctor.times import JobTimes, phases_of, wall
from farm.history import paused_s, time_before
from farm.job import AttemptNote, EventKind, JobEvent
from tests.support.tables import for_each

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


def note(number: int, began_s: float, ended_s: float, outcome: str = "failed", **more: Any) -> AttemptNote:
    """An attempt on "w1", unless it is told otherwise; other moments are given in seconds too."""
    moments = {name: at(moment) for name, moment in more.items() if name != "worker"}
    made = AttemptNote(
        attempt=number,
        worker=more.get("worker", "w1"),
        outcome=outcome,
        started_at=at(began_s),
        ended_at=at(ended_s),
    )
    return replace(made, **moments)  # type: ignore[arg-type]  # moments are no error


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


@pytest.mark.parametrize(
    ("notes", "seconds"),
    [
        ([], {"queue": 100}),
        ([note(1, 10, 18, again_at=23)], {"queue": 10 + 77, "earlier": 8, "backoff": 5}),
        # The same worker was kept from it for longer.
        (
            [note(1, 10, 18, again_at=23, kept_until=38, worker="me")],
            {"queue": 72, "earlier": 8, "backoff": 20},
        ),
        ([note(1, 10, 18, again_at=23, kept_until=38)], {"queue": 87, "earlier": 8, "backoff": 5}),
        # It was claimed before: one whose pause nobody keeps any more.
        ([note(1, 10, 18, again_at=400)], {"queue": 10, "earlier": 8, "backoff": 82}),
        ([note(1, 10, 30, "lost", heard_at=15)], {"queue": 80, "earlier": 5, "lease": 15}),
        ([note(1, 10, 15, "released")], {"queue": 95, "earlier": 5}),
        ([note(1, 10, 40, "unpublished")], {"queue": 10, "earlier": 30, "held": 60}),
        (
            [
                note(1, 10, 18, again_at=23),
                note(2, 30, 50, "lost", heard_at=35),
                note(3, 60, 70, "unpublished"),
                note(4, 75, 76, "released"),
            ],
            {"queue": 10 + 7 + 10 + 24, "earlier": 8 + 5 + 10 + 1, "backoff": 5, "lease": 15, "held": 5},
        ),
        # A store's clock that was put back.
        ([note(1, 10, 5, "lost", heard_at=1)], {"queue": 100}),
    ],
    ids=[
        "never",
        "failed",
        "kept from its worker",
        "taken by another",
        "claimed early",
        "lost",
        "released",
        "unpublished",
        "many",
        "set back",
    ],
)
def test_each_second_before_an_attempt_is_of_one_phase(
    notes: list[AttemptNote], seconds: dict[str, float]
) -> None:
    found, past = time_before(notes, START, until=at(100), worker="me")

    assert found == seconds
    assert [each.number for each in past] == [each.attempt for each in notes]


def test_what_rendered_the_files_that_are_published_now_did_not_come_to_nothing() -> None:
    notes = [note(1, 10, 20), note(2, 30, 50, "unpublished"), note(3, 60, 62, "unpublished")]

    found, past = time_before(notes, START, until=at(100), rendered_by=2)

    assert found == {"queue": 20, "earlier": 10, "unpublished": 22, "held": 10 + 38}
    assert [each.number for each in past] == [1]


def test_what_somebody_paused_is_taken_from_the_waiting_alone() -> None:
    notes = [note(1, 10, 20, again_at=60)]

    found, _ = time_before(notes, START, until=at(100), paused_s=70)

    assert found == {"queue": 0, "paused": 50, "earlier": 10, "backoff": 40}


@for_each("seed", range(200))
def test_whatever_became_of_attempts_their_seconds_add_up(seed: int) -> None:
    draw = Random(seed)
    moments = [draw.uniform(-5, 110) for _ in range(2 * draw.randrange(6))]
    ordered = moments if seed % 4 == 0 else sorted(moments)  # else of a clock that was set meanwhile
    notes = [
        note(
            number,
            began_s,
            ended_s,
            draw.choice(["failed", "lost", "released", "unpublished", "canceled"]),
            worker=draw.choice(["w1", "w2"]),
            **{
                name: draw.uniform(-5, 150)
                for name in ("heard_at", "again_at", "kept_until")
                if draw.random() < 0.5
            },
        )
        for number, (began_s, ended_s) in enumerate(list(pairwise(ordered))[::2], start=1)
    ]

    found, past = time_before(
        notes,
        START,
        until=at(100),
        worker="w1",
        paused_s=draw.choice([0, 0, 7, 300]),
        rendered_by=draw.choice([None, 1, 2]),
    )

    assert sum(found.values()) == pytest.approx(100)
    assert all(seconds >= 0 for seconds in found.values())
    assert sum(each.seconds for each in past) == pytest.approx(found.get("earlier", 0.0), abs=0.01)
    times = JobTimes(
        seconds={**found, "attempt": 50.0, "comfy": 40.0, "prepare": 1.0, "publish": 9.0}, past=past
    )
    assert sum(phase.seconds for phase in phases_of(times)) == pytest.approx(wall(times) or 0.0, abs=0.01)
    assert wall(times) == pytest.approx(150)
