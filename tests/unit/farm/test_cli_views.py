from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from farm.cli.jobs.views import BarView
from farm.cli.terminal import words
from farm.cli.terminal.door import PlainConsole
from farm.job import EventKind, JobEvent, Progress, new_job_id
from farm.testing import MemoryJobStore
from tests.support.jobs import a_job, an_error


@pytest.fixture
def terminal() -> PlainConsole:
    """A terminal whose picture can be read."""
    return PlainConsole(file=io.StringIO(), force_terminal=True, width=160, color_system=None)


def shown(terminal: PlainConsole) -> str:
    """All that was ever drawn."""
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def event(job_id: str, kind: EventKind, **data: object) -> JobEvent:
    """Something that happened."""
    return JobEvent(event_id="1", job_id=job_id, at=datetime.now(UTC), kind=kind, data=data)


def test_a_bar_shows_step_pace_and_time_left(terminal: PlainConsole, store: MemoryJobStore) -> None:
    job_id = store.submit([a_job(title="Fox [1]")])[0].job_id

    with BarView(terminal) as view:
        view.begin(store.get(job_id))
        view.event(event(job_id, EventKind.STATE, state="running", attempt=1))
        view.event(event(job_id, EventKind.PHASE, phase="load"))
        view.event(
            event(
                job_id,
                EventKind.PROGRESS,
                phase="sample_high",
                fraction=0.25,
                step=3,
                steps=10,
                seconds_per_step=1.5,
                eta_s=75.0,
            )
        )

    text = shown(terminal)
    assert f"{job_id[:8]} Fox [1]" in text
    assert "sample_high 3/10" in text
    assert "25%" in text
    assert "1.50 s a step, 75.0 s left" in text


def test_a_bar_takes_up_the_progress_that_a_job_has_already(
    terminal: PlainConsole, store: MemoryJobStore
) -> None:
    job_id = store.submit([a_job()])[0].job_id
    store.claim(job_id, worker="w1")
    store.report(job_id, 1, [], progress=Progress(phase="vae", fraction=0.9))

    with BarView(terminal) as view:
        view.begin(store.get(job_id))

    assert "90%" in shown(terminal)


def test_a_bar_of_a_failed_job_says_why(terminal: PlainConsole, store: MemoryJobStore) -> None:
    job_id = store.submit([a_job()])[0].job_id
    store.claim(job_id, worker="w1")
    store.fail(job_id, 1, an_error(message="no [luck]"), retry_in_s=None)

    with BarView(terminal) as view:
        view.begin(store.get(job_id))
        view.end(store.get(job_id))

    assert "no [luck]" in shown(terminal)


def test_progress_of_a_newer_worker_moves_nothing_and_stops_nothing(
    terminal: PlainConsole, store: MemoryJobStore
) -> None:
    job_id = store.submit([a_job(job_id=new_job_id())])[0].job_id

    with BarView(terminal) as view:
        view.begin(store.get(job_id))
        view.event(event(job_id, EventKind.PROGRESS, gear=4))

    assert "0%" in shown(terminal)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.42, "0.42 s"), (12.34, "12.3 s"), (245, "4 min 05 s"), (7380, "2 h 03 min")],
)
def test_seconds_are_written_as_people_read_them(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("2.5", 2.5),
        ("true", True),
        ('["6", 0]', ["6", 0]),
        ("a fox", "a fox"),
        ("NaN", "NaN"),
        ('"5"', "5"),
    ],
)
def test_a_value_is_json_or_else_text(text: str, value: object) -> None:
    assert words.parse_value(text) == value
