"""When a worker takes itself out of service, and comes back."""

from __future__ import annotations

import itertools

import pytest

from farm.job import ErrorKind, JobError
from tests.support.clock import Clock
from worker.service.quarantine import LONGEST_PROBE_S, Quarantine


@pytest.fixture
def clock() -> Clock:
    """Time stands still."""
    return Clock()


@pytest.fixture
def quarantine(clock: Clock) -> Quarantine:
    """Of a worker that never failed."""
    return Quarantine(first_probe_s=10, clock=clock)


_names = itertools.count()


def fails(quarantine: Quarantine, failure: JobError, job_id: str | None = None) -> bool:
    """An attempt at that job fails, or at one that never failed before."""
    return quarantine.failed(job_id or f"job{next(_names)}", failure)


def error(kind: ErrorKind = ErrorKind.MACHINE, code: str = "cuda_context_lost") -> JobError:
    return JobError(kind=kind, code=code, message="it broke\nwith a traceback")


def test_two_failures_of_the_machine_in_a_row_take_it_out_of_service(quarantine: Quarantine) -> None:
    assert not fails(quarantine, error())
    assert fails(quarantine, error())

    assert quarantine.failure is not None
    assert (quarantine.failure.code, quarantine.failure.reason) == ("cuda_context_lost", "it broke")


@pytest.mark.parametrize("kind", [ErrorKind.JOB, ErrorKind.TRANSIENT, ErrorKind.UNSUITABLE])
def test_what_is_not_the_machines_fault_is_not_counted(quarantine: Quarantine, kind: ErrorKind) -> None:
    assert not any(fails(quarantine, error(kind, "other")) for _ in range(5))


def test_a_success_between_them_forgives_a_failure(quarantine: Quarantine) -> None:
    fails(quarantine, error())
    quarantine.succeeded()

    assert not fails(quarantine, error())


def test_a_lost_card_counts_at_once(quarantine: Quarantine) -> None:
    assert fails(quarantine, error(code="gpu_lost"))


def test_a_build_without_code_for_this_card_counts_like_a_fault_of_the_machine(
    quarantine: Quarantine,
) -> None:
    assert not fails(quarantine, error(ErrorKind.UNSUITABLE, "wrong_build"))
    assert fails(quarantine, error(ErrorKind.UNSUITABLE, "wrong_build"))


def test_one_job_that_fails_again_and_again_does_not_take_the_worker_out_of_service(
    quarantine: Quarantine,
) -> None:
    assert not any(fails(quarantine, error(), "bad") for _ in range(5))

    assert fails(quarantine, error(), "another")


def test_on_probation_a_job_that_failed_here_before_says_nothing_new(quarantine: Quarantine) -> None:
    fails(quarantine, error(), "first")
    fails(quarantine, error(), "second")
    quarantine.probed(None)

    assert not fails(quarantine, error(), "second")
    assert fails(quarantine, error(), "third")


def test_probes_are_rarer_each_time_it_still_fails(quarantine: Quarantine, clock: Clock) -> None:
    fails(quarantine, error(code="gpu_lost"))
    pauses = []
    for _ in range(8):
        began = clock.now
        while not quarantine.probe_due:
            clock.now += 1
        pauses.append(clock.now - began)
        quarantine.probed("still lost")

    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert LONGEST_PROBE_S == 300


def test_on_probation_one_failure_is_enough_and_the_pause_goes_on_growing(
    quarantine: Quarantine, clock: Clock
) -> None:
    fails(quarantine, error(code="gpu_lost"))
    quarantine.probed(None)
    assert quarantine.failure is None

    assert fails(quarantine, error())

    clock.now += 19
    assert not quarantine.probe_due
    clock.now += 1
    assert quarantine.probe_due


def test_a_success_ends_the_probation(quarantine: Quarantine) -> None:
    fails(quarantine, error(code="gpu_lost"))
    quarantine.probed(None)

    quarantine.succeeded()

    assert not fails(quarantine, error())


def test_a_job_that_ends_well_while_it_is_out_does_not_bring_it_back(quarantine: Quarantine) -> None:
    fails(quarantine, error(code="gpu_lost"))

    quarantine.succeeded()

    assert quarantine.failure is not None
