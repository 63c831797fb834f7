"""Workers over a ComfyUI from the future: the canary says what is new, and no job pays for it.

Each way in which it may differ is in `tests/integration/comfy/test_canary.py`, and what a whole worker makes
of them in `tests/unit/worker/test_future_comfyui.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from farm.job import JobState
from farm.status.not_fetching import NotFetching
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm, outcomes

Farms = Callable[..., WholeFarm]


def test_no_job_fails_on_a_comfyui_that_cannot_do_what_it_needs_and_it_runs_once_that_is_mended(
    new_farm: Farms,
) -> None:
    farm = new_farm()
    job = farm.submit()

    worker = farm.launch("future", emulator="--future version refused_id")

    eventually(
        lambda: farm.says(worker, lambda it: NotFetching.CANARY_FAILED in it.not_fetching), within_s=START_S
    )
    (newer,) = worker.told("comfyui_newer")
    assert newer["version"] == "0.99.0"
    assert job.refresh().state is JobState.QUEUED
    assert job.record.attempts == ()
    worker.differ()
    assert outcomes(job.wait(JOB_S)) == ["succeeded"]
    worker.told("canary_passed")


def test_a_log_in_another_dress_leaves_the_mode_unproven_and_jobs_run(new_farm: Farms) -> None:
    farm = new_farm()

    worker = farm.start_worker("future", emulator="--future log_prefix")

    eventually(lambda: any(entry["what"].startswith("log: ") for entry in worker.entries("unproven")))
    assert farm.says(worker, lambda it: it.proof is not None and it.proof.unproven)
    assert outcomes(farm.submit().wait(JOB_S)) == ["succeeded"]
