from __future__ import annotations

import pytest

from farm.cli.jobs.tracking import Look, Tracker
from farm.cli.jobs.views import BoardView, board
from farm.cli.terminal import words
from farm.cli.terminal.door import PlainConsole
from farm.job import Progress
from farm.testing import MemoryJobStore
from tests.support.jobs import a_job, a_result, an_error
from tests.support.terminal import a_console, text_of


@pytest.fixture
def terminal() -> PlainConsole:
    """A terminal whose picture can be read."""
    return a_console(terminal=True, width=160, colours=None)


def look_at(store: MemoryJobStore, *job_ids: str) -> Look:
    """The jobs as a first look finds them."""
    return Tracker(store, job_ids).look()


def drawn(terminal: PlainConsole, look: Look) -> str:
    """The board of these jobs."""
    terminal.print(board(look, height=20))
    return text_of(terminal)


def a_running_job(store: MemoryJobStore, progress: Progress, title: str = "Fox") -> str:
    job_id = store.submit([a_job(title=title)])[0].job_id
    store.claim(job_id, worker="w1")
    store.report(job_id, 1, [], progress=progress)
    return job_id


def test_a_row_shows_step_pace_time_left_and_where(terminal: PlainConsole, store: MemoryJobStore) -> None:
    at = Progress(phase="sample_high", fraction=0.25, step=3, steps=10, seconds_per_step=1.5, eta_s=75.0)
    job_id = a_running_job(store, at, title="Fox [1]")

    text = drawn(terminal, look_at(store, job_id))

    assert f"{job_id[:8]} Fox [1]" in text
    assert "sample_high 3/10" in text
    assert "25%" in text
    assert "1.50 s a step, 75.0 s left, on w1" in text
    assert "0 of 1 done · 1 running · 0 waiting" in text
    assert "75.0 s left" in text.splitlines()[-1]


def test_a_job_that_runs_is_never_shown_as_whole(terminal: PlainConsole, store: MemoryJobStore) -> None:
    job_id = a_running_job(store, Progress(phase="publishing", fraction=1.0))

    assert "100%" not in drawn(terminal, look_at(store, job_id))


def test_what_comes_next_stands_in_the_order_of_the_queue(
    terminal: PlainConsole, store: MemoryJobStore
) -> None:
    late = store.submit([a_job(title="late", priority=5)])[0].job_id
    urgent = store.submit([a_job(title="urgent", priority=1)])[0].job_id
    later = store.submit([a_job(title="later", priority=5)])[0].job_id
    paused = store.submit([a_job(title="asleep", priority=0)])[0].job_id
    store.pause([paused])

    lines = drawn(terminal, look_at(store, paused, later, late, urgent)).splitlines()

    assert [
        next(word for word in ("urgent", "later", "late", "asleep") if word in line) for line in lines[:4]
    ] == [
        "urgent",
        "late",
        "later",
        "asleep",
    ]
    assert "next" in lines[0]
    assert "then, priority 5" in lines[1]
    assert "paused" in lines[3]
    assert lines[4].startswith("0 of 4 done · 0 running · 3 waiting · 1 held")


def test_a_board_is_no_higher_than_the_screen(terminal: PlainConsole, store: MemoryJobStore) -> None:
    jobs = store.submit([a_job() for _ in range(40)])

    terminal.print(board(look_at(store, *(job.job_id for job in jobs)), height=5))

    assert len(text_of(terminal).splitlines()) == 4


def test_who_ended_well_among_many_leaves_no_line_and_who_did_not_says_why(
    terminal: PlainConsole, store: MemoryJobStore
) -> None:
    ids = [job.job_id for job in store.submit([a_job() for _ in range(30)])]
    for job_id in ids[:2]:
        store.claim(job_id, worker="w1")
    store.succeed(ids[0], 1, a_result())
    store.fail(ids[1], 1, an_error(message="no [luck]"), retry_in_s=None)

    with BoardView(terminal) as view:
        view.show(look_at(store, *ids), [store.get(job_id) for job_id in ids[:2]])
        view.finish(look_at(store, *ids))

    assert "failed: no [luck]" in text_of(terminal)
    assert ids[0][:8] not in text_of(terminal)
    assert "2 of 30 done · 0 running · 28 waiting · 1 failed" in text_of(terminal)


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
