"""When a worker's failures stand out from its own past and from the fleet's."""

from __future__ import annotations

import pytest

from farm.status.worker import JudgedStatus
from worker.service.suspicion import Suspicion

SOUND = JudgedStatus(jobs=20, failed_here_only=0)
FLAKY = JudgedStatus(jobs=20, failed_here_only=4)


@pytest.fixture
def suspicion() -> Suspicion:
    """Of a worker without a past."""
    return Suspicion()


def failed(suspicion: Suspicion, *jobs: str) -> None:
    for job in jobs:
        suspicion.failed(job, f"ImportError in {job}")


def test_three_failures_in_a_row_are_reason_enough_before_anybody_knows_whose_fault_they_are(
    suspicion: Suspicion,
) -> None:
    failed(suspicion, "a", "b")
    assert suspicion.reason(()) is None

    failed(suspicion, "c")

    assert suspicion.reason(()) == "the last 3 jobs failed here; the last one: ImportError in c"


def test_a_job_that_goes_well_between_them_ends_the_row(suspicion: Suspicion) -> None:
    failed(suspicion, "a", "b")
    suspicion.succeeded("good")
    failed(suspicion, "c")

    assert suspicion.reason(()) is None


def test_what_fails_elsewhere_too_is_not_charged(suspicion: Suspicion) -> None:
    failed(suspicion, "a", "b", "c")

    for job in ("a", "b", "c"):
        suspicion.judged(job, went_well=False)

    assert suspicion.reason((), in_a_row=1) is None
    assert suspicion.open_jobs == []


def test_a_worker_that_fails_some_of_what_others_do_stands_out_by_its_share(suspicion: Suspicion) -> None:
    for number in range(4):
        suspicion.succeeded(f"good{number}")
        failed(suspicion, f"bad{number}")
    for number in range(3):
        suspicion.judged(f"bad{number}", went_well=True)

    assert "3 of the last 8 jobs failed here and went well elsewhere" in (suspicion.reason((SOUND,)) or "")
    assert suspicion.open_jobs == ["bad3"]
    assert suspicion.status() == JudgedStatus(jobs=8, failed_here_only=3)


def test_where_jobs_of_a_kind_fail_by_chance_on_every_worker_none_stands_out(suspicion: Suspicion) -> None:
    for number in range(3):
        failed(suspicion, f"bad{number}")
        suspicion.judged(f"bad{number}", went_well=True)
        for good in range(4):
            suspicion.succeeded(f"good{number}{good}")

    assert suspicion.reason((FLAKY, FLAKY)) is None


def test_what_is_long_ago_is_forgotten(suspicion: Suspicion) -> None:
    for job in ("a", "b", "c"):
        failed(suspicion, job)
        suspicion.judged(job, went_well=True)
    for number in range(20):
        suspicion.succeeded(str(number))

    assert suspicion.status() == JudgedStatus(jobs=20, failed_here_only=0)
