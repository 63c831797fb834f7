"""A worker over a ComfyUI from the future: its canary says what is new, and no job pays for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farm.job import JobState
from farm.status.not_fetching import NotFetching
from farm.status.proof import ProofVerdict
from farm.status.worker import WorkerStatus
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm, WorkerProcess, outcomes

NEEDED = {
    "refused_id": "post",
    "no_route=/history": "history",
    "other_status": "history",
    "other_files": "output",
    "no_types": "temp",
    "other_jobs": "queue",
    "no_route=/object_info": "nodes",
    "wide_cancel": "cancel_alone",
}
INFORMING = {"log_prefix": "log", "other_messages": "events", "ignores_cancel": "cancel_running"}


@pytest.fixture
def future_farm(new_farm: Callable[..., WholeFarm]) -> WholeFarm:
    return new_farm()


def status_of(farm: WholeFarm, worker: WorkerProcess) -> WorkerStatus:
    """What the worker says once its canary is back."""
    eventually(lambda: farm.says(worker, lambda it: it.canary is not None), within_s=START_S)
    status = farm.status(worker)
    assert status is not None
    return status


@pytest.mark.parametrize(("way", "trait"), NEEDED.items(), ids=NEEDED)
def test_no_job_fails_on_a_comfyui_that_cannot_do_what_it_needs(
    future_farm: WholeFarm, way: str, trait: str
) -> None:
    job = future_farm.submit()

    worker = future_farm.launch("future", emulator=f"--future version {way}")
    status = status_of(future_farm, worker)

    assert status.canary is not None
    assert status.canary.verdict == "unusable"
    assert NotFetching.CANARY_FAILED in status.not_fetching
    failed = {each.trait: each for each in status.canary.traits if each.seen == "failed"}
    assert failed[trait].needed
    assert status.trouble is not None
    assert f"{trait}: expected {failed[trait].expected}; came {failed[trait].came}" in status.trouble
    (newer,) = worker.told("comfyui_newer")
    assert newer["version"] == "0.99.0"
    assert job.refresh().state is JobState.QUEUED
    assert job.record.attempts == ()


@pytest.mark.parametrize(("way", "trait"), INFORMING.items(), ids=INFORMING)
def test_what_only_informs_leaves_the_mode_unproven_and_jobs_run(
    future_farm: WholeFarm, way: str, trait: str
) -> None:
    worker = future_farm.start_worker("future", emulator=f"--future {way}")
    status = status_of(future_farm, worker)

    assert status.canary is not None
    assert status.canary.verdict == "unproven"
    assert trait in {each.trait for each in status.canary.traits if each.seen == "failed"}
    assert status.proof is not None
    assert status.proof.verdict is ProofVerdict.UNPROVEN
    assert any(what.startswith(f"{trait}: ") for what in status.proof.unproven)
    told = f"{trait}: "
    eventually(lambda: any(entry["what"].startswith(told) for entry in worker.entries("unproven")))
    assert outcomes(future_farm.submit().wait(JOB_S)) == ["succeeded"]


def test_a_strict_worker_takes_no_job_in_a_mode_that_is_unproven(future_farm: WholeFarm) -> None:
    worker = future_farm.launch("future", emulator="--future other_messages", FARM_STRICT="true")
    status = status_of(future_farm, worker)

    assert NotFetching.NOT_PROVEN in status.not_fetching
    assert NotFetching.CANARY_FAILED not in status.not_fetching


def test_a_newer_comfyui_that_only_says_more_is_worked_with(future_farm: WholeFarm) -> None:
    ways = "version=0.99.0 more_fields more_messages"
    worker = future_farm.start_worker("future", emulator=f"--future {ways}")
    status = status_of(future_farm, worker)

    assert status.canary is not None
    assert status.canary.verdict == "proven", status.canary.sentence
    assert status.canary.sentence.startswith("ComfyUI 0.99.0: protocol as 0.33.0, being newer than")
    assert outcomes(future_farm.submit().wait(JOB_S)) == ["succeeded"]


def test_a_worker_that_need_not_heed_its_canary_tries_all_the_same(future_farm: WholeFarm) -> None:
    worker = future_farm.start_worker("future", emulator="--future no_types", FARM_CANARY_REQUIRED="false")
    status = status_of(future_farm, worker)

    assert status.canary is not None
    assert status.canary.verdict == "unusable"
    assert status.trouble is None
    assert status.proof is not None
    assert any(what.startswith("temp: ") for what in status.proof.unproven)


def test_a_comfyui_that_is_mended_gets_jobs_again(future_farm: WholeFarm) -> None:
    worker = future_farm.launch("future", emulator="--future no_route=/history")
    status_of(future_farm, worker)
    job = future_farm.submit()

    worker.differ()

    assert outcomes(job.wait(JOB_S)) == ["succeeded"]
    worker.told("canary_passed")
