"""What else ComfyUI can do to a job: each fault costs an attempt at most, and names itself."""

from __future__ import annotations

import pytest

from farm.job import ErrorKind, JobState
from farm.store.base import Drain
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip, error_of, outcomes

LONG = 60  # steps: three seconds


def generations(worker: WorkerProcess) -> int:
    return len(worker.entries("comfy_ready"))


@pytest.mark.parametrize("phase", ["start", "saved"])  # at a step: `test_sudden_deaths`
def test_a_comfyui_that_dies_at_any_phase_costs_one_attempt(
    farm: WholeFarm, worker: WorkerProcess, phase: str
) -> None:
    started = generations(worker)
    worker.misbehave("exit", at=phase, exit_code=1)

    job = farm.submit().wait(JOB_S)

    assert outcomes(job) in (["failed", "succeeded"], ["succeeded"])  # what was saved is not lost
    first = job.record.attempts[0]
    assert first.error is None or first.error.code == "comfy_died"
    eventually(lambda: generations(worker) > started, within_s=JOB_S)


def test_a_node_that_never_ends_and_never_yields_is_ended_by_the_time_limit(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    started = generations(worker)
    worker.misbehave("hang", at="node")  # the first one: a busy machine is there before the time is up

    job = farm.wait_final(farm.submit(a_clip(steps=LONG), time_limit_s=4.0))

    assert job.state is JobState.FAILED
    assert error_of(job).kind is ErrorKind.TIME_LIMIT
    assert outcomes(job) == ["failed"]
    eventually(lambda: generations(worker) > started, within_s=JOB_S)
    assert outcomes(farm.submit().wait(JOB_S)) == ["succeeded"]


def test_a_post_that_is_refused_for_a_while_costs_no_attempt_of_the_next_job(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    worker.misbehave("refuse_prompt")

    job = farm.submit().wait(JOB_S)

    assert outcomes(job).count("succeeded") == 1
    assert outcomes(farm.submit().wait(JOB_S)) == ["succeeded"]


def test_files_that_come_over_http_do_not_stay_on_the_workers_disk(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    attached = farm.start_worker("attached", COMFYUI_URL=worker.comfy_url)
    store = farm.farm.store
    store.set_drain(worker.name, Drain.FINISH)
    eventually(lambda: farm.says(worker, lambda it: it.not_fetching), within_s=JOB_S)
    try:
        job = farm.submit().wait(JOB_S)

        assert job.record.worker == attached.name
        assert farm.farm.storage.exists(job.result().main.key)
        scratch = attached.folder / "scratch"
        eventually(lambda: not any(path.is_file() for path in scratch.rglob("*")), within_s=JOB_S)
    finally:
        store.set_drain(worker.name, None)
        attached.close()
