"""The plan meets what others have documented."""

from __future__ import annotations

import pytest

from bench.documented_runs import HELD_WITHIN, RUNS, Run, planned


@pytest.mark.parametrize("run", [run for run in RUNS if run.held], ids=lambda run: run.title)
def test_the_plan_meets_the_runs_that_it_has_to_meet(run: Run) -> None:
    assert planned(run).seconds == pytest.approx(run.seconds, rel=HELD_WITHIN)


@pytest.mark.parametrize("run", [run for run in RUNS if not run.kept_out], ids=lambda run: run.title)
def test_a_run_from_which_a_rate_was_derived_lies_within_its_bounds(run: Run) -> None:
    found = planned(run)

    assert found.low <= run.seconds <= found.high


@pytest.mark.parametrize("card", ["RTX 5060", "RTX 5070 Ti"])
def test_a_card_of_which_no_rate_is_known_keeps_within_its_bound(card: str) -> None:
    runs = [run for run in RUNS if run.card == card]

    assert runs
    for run in runs:
        found = planned(run)
        assert found.low <= run.seconds <= found.high
        assert "a bound, no time is published for this card" in found.source
