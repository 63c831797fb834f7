"""How long a job will still take."""

from __future__ import annotations

import pytest

from farm.job import Progress
from tests.support.clock import Clock
from worker.jobs.pace import PUBLISH_S, Pace


def at(
    fraction: float, *, phase: str = "sample_high", step: int | None = 1, eta_s: float | None = None
) -> Progress:
    return Progress(phase=phase, fraction=fraction, step=step, steps=20, eta_s=eta_s)


def test_nothing_is_said_before_the_first_step() -> None:
    pace = Pace()
    assert pace.left_s() is None

    pace.note(at(0.0, phase="load", step=None))

    assert pace.left_s() is None


def test_the_rest_takes_as_long_as_what_was_done_since_the_first_step() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.note(at(0.1, phase="load", step=None))
    clock.now += 1000  # loading does not count
    pace.note(at(0.2))
    clock.now += 30
    pace.note(at(0.5))

    assert pace.rendered_in_s() == pytest.approx(50)
    assert pace.left_s() == pytest.approx(50 + PUBLISH_S)
    clock.now += 20
    assert pace.rendered_in_s() == pytest.approx(30)


def test_after_one_step_the_nodes_own_estimate_is_taken() -> None:
    pace = Pace(Clock())

    pace.note(at(0.2, eta_s=12.0))

    assert pace.rendered_in_s() == pytest.approx(12)


@pytest.mark.parametrize(
    ("phase", "left_s"),
    [("vae", PUBLISH_S), ("frames", PUBLISH_S), ("save", PUBLISH_S), ("publishing", 0.0)],
)
def test_what_is_sampled_is_nearly_done_and_nobody_is_told_in_how_many_seconds(
    phase: str, left_s: float
) -> None:
    pace = Pace(Clock())
    pace.note(at(0.2))
    pace.note(at(0.5))

    pace.note(at(0.9, phase=phase, step=None))

    assert pace.left_s() == left_s
    assert pace.rendered_in_s() is None
