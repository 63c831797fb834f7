"""The work in hand, by message: two of one job do not take each other's news."""

from __future__ import annotations

from farm.job import Progress
from worker.jobs.at_work import AtWork

HALF = Progress(phase="sample_high", fraction=0.5)


def test_a_second_message_for_a_job_that_runs_here_takes_nothing_of_it() -> None:
    at_work = AtWork()

    with at_work.on("one-job") as work:
        assert work.note(HALF)
        with at_work.on("one-job"):
            pass  # its claim was refused

        assert at_work.jobs() == {"one-job": HALF}
        assert not work.note(HALF)  # the same phase

    assert at_work.jobs() == {}


def test_an_older_attempt_that_ends_late_leaves_the_newer_ones_progress() -> None:
    at_work = AtWork()
    older = at_work.on("one-job")
    older.__enter__().note(Progress(phase="publishing", fraction=1.0))

    with at_work.on("one-job") as newer:
        newer.note(HALF)
        older.__exit__(None, None, None)

        assert at_work.jobs() == {"one-job": HALF}
