"""What the table of faults says of a small history."""

from __future__ import annotations

import pytest

from tests.chaos.campaign import Played
from tests.chaos.history import AttemptSeen, History, StateSeen, Story
from tests.chaos.nemesis import Struck
from tests.chaos.report import lines
from tests.chaos.schedule import Fault

JOB = "a" * 32


def played(outcome: str) -> Played:
    """An attempt that a fault struck at 10 s and that ended so; the next one began at 14 s."""
    first = AttemptSeen(attempt=1, worker="w0", outcome=outcome, started_s=5.0, ended_s=12.0)
    second = AttemptSeen(attempt=2, worker="w0", outcome="succeeded", started_s=14.0, ended_s=15.0)
    moves = (("queued", 0, 4.0), ("running", 1, 5.0), ("queued", 1, 12.0), ("running", 2, 14.0))
    states = tuple(StateSeen(state=state, attempt=attempt, at_s=at_s) for state, attempt, at_s in moves)
    story = Story(job_id=JOB, state="succeeded", states=states, attempts=(first, second))
    struck = Struck(kind=Fault.S3_CUT, at_s=10.0, running=((JOB, 1),), unended=frozenset({JOB}))
    history = History(accepted=(JOB,), stories={JOB: story})
    return Played(seed=1, history=history, violations=[], struck=[struck], exits=[])


@pytest.mark.parametrize("outcome", ["lost", "failed", "released", "unpublished"])
def test_a_job_whose_attempt_was_cut_short_recovers_when_its_next_one_begins(outcome: str) -> None:
    (line,) = lines([played(outcome)])

    assert line.recovery_s == 4.0


def test_a_job_that_went_through_all_the_same_has_nothing_to_recover_from() -> None:
    (line,) = lines([played("succeeded")])

    assert line.recovery_s == 0.0
