"""A machine that fails, a card that is too small, and a worker that is told to leave."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.job import JobState, queue_for
from farm.status.not_fetching import NotFetching
from farm.store.base import Drain
from tests.chaos.nodes import Disk
from tests.support.farm_process import run_farm
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, a_clip, error_of, notes, outcomes

Farms = Callable[..., WholeFarm]


def faults(*kinds: dict[str, object]) -> str:
    """Faults that outlive a restart of ComfyUI."""
    return f"--faults '{json.dumps(list(kinds))}'"


def always(node: str, error: str) -> dict[str, object]:
    return {"kind": "raise", "node": node, "error": error, "times": None}


def test_a_broken_worker_does_not_drain_the_queue_and_takes_itself_out_of_service(new_farm: Farms) -> None:
    farm = new_farm(avoid_s=1.0)
    broken = farm.launch(
        "broken", emulator=faults(always("KSamplerAdvanced", "sticky_cuda")), FARM_PROBE_AFTER_S="4"
    )
    healthy = farm.launch("healthy")
    farm.wait_ready(broken, healthy)

    jobs = [farm.submit(a_clip(steps=12)) for _ in range(10)]

    for job in jobs:
        job.wait(JOB_S)
        last = notes(job)[-1]
        assert (last.worker, last.outcome) == (healthy.name, "succeeded")
        assert job.record.attempts_failed == 0
    failed = [note for job in jobs for note in notes(job) if note.worker == broken.name]
    assert 1 <= len(failed) <= 4
    if len(failed) >= 2:
        broken.told("quarantined")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_was_full_keeps_no_job_waiting_once_it_has_room(new_farm: Farms) -> None:
    farm = new_farm()
    disk = Disk(farm.folder / "a")
    try:
        worker = farm.start_worker("a")
        at_work = farm.sampling(40)

        disk.fill()

        eventually(
            lambda: farm.says(worker, lambda it: NotFetching.DISK_FULL in it.not_fetching), within_s=JOB_S
        )
        waiting = farm.submit()
        eventually(lambda: not farm.says(worker, lambda it: it.jobs), within_s=JOB_S)
        assert waiting.refresh().state is JobState.QUEUED
        assert farm.says(worker, lambda it: "the disk is full (work)" in str(it.trouble))
        disk.clear()
        eventually(lambda: waiting.refresh().state is not JobState.QUEUED, within_s=JOB_S)
        waiting.wait(JOB_S)
        at_work.wait(JOB_S)
        assert at_work.record.attempts_failed == 0
        assert not worker.entries("quarantined")
    finally:
        farm.close()
        disk.unmount()


def test_a_worker_is_back_in_service_when_its_machine_is_well(new_farm: Farms) -> None:
    farm = new_farm()
    worker = farm.start_worker(FARM_PROBE_AFTER_S="1")
    for starts in (1, 2):
        eventually(lambda n=starts: len(worker.entries("comfy_ready")) == n, within_s=JOB_S)  # type: ignore[misc]
        worker.misbehave("raise", node="KSamplerAdvanced", error="sticky_cuda")
        job = farm.submit()
        eventually(lambda job=job: "failed" in outcomes(job), within_s=JOB_S)  # type: ignore[misc]
        job.cancel()

    worker.told("quarantined")
    worker.told("quarantine_over")

    farm.submit().wait(JOB_S)


def test_a_job_that_is_too_large_for_a_card_goes_to_a_larger_one(new_farm: Farms) -> None:
    farm = new_farm()
    small = farm.launch(
        "small", emulator=faults(always("KSamplerAdvanced", "cuda_oom")), FARM_VRAM_CLASS="24"
    )
    large = farm.launch("large", FARM_VRAM_CLASS="48")
    farm.farm.store.set_drain(large.name, Drain.FINISH)
    farm.wait_ready(small)
    eventually(lambda: farm.status(large), within_s=JOB_S)

    job = farm.submit()

    eventually(lambda: job.refresh().record.queue == queue_for(32), within_s=JOB_S)
    farm.farm.store.set_drain(large.name, None)
    job.wait(JOB_S)
    assert outcomes(job) == ["failed", "succeeded"]
    first = notes(job)[0].error
    assert first is not None
    assert first.details["fallback_steps"] == ["free", "more_reserve", "streamed", "larger_class"]
    assert [ready["generation"] for ready in small.told("comfy_ready", times=3)] == [1, 2, 3]


def test_a_job_whose_model_a_worker_lacks_runs_on_another_although_it_has_one_attempt(
    new_farm: Farms,
) -> None:
    farm = new_farm()
    lacking, having = farm.launch("a", emulator="--models wan_2.1_vae.safetensors"), farm.launch("b")
    farm.wait_ready(lacking, having)
    farm.farm.store.set_drain(having.name, Drain.FINISH)
    eventually(lambda: farm.says(having, lambda it: it.not_fetching), within_s=JOB_S)

    job = farm.submit(max_attempts=1)

    eventually(lambda: outcomes(job) == ["failed"], within_s=JOB_S)
    assert job.state is JobState.QUEUED
    farm.farm.store.set_drain(having.name, None)
    job.wait(JOB_S)
    assert [(note.worker, note.outcome) for note in notes(job)] == [
        (lacking.name, "failed"),
        (having.name, "succeeded"),
    ]
    first = notes(job)[0].error
    assert first is not None
    assert first.code == "missing_here"
    assert "wan2.2_t2v" in first.message
    assert job.record.attempts_failed == 0


def order(farm: WholeFarm, *arguments: str) -> str:
    """Run `farm` as a person does; what it printed."""
    ended = run_farm(*arguments, environ=farm.environment(), within_s=JOB_S)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_drained_worker_gives_its_job_back_at_once_and_fetches_again_when_told(new_farm: Farms) -> None:
    farm = new_farm()
    # Slow enough that the job still renders when the command, a process of its own, gets to it.
    worker = farm.start_worker("a", emulator="--step-seconds 0.5")
    job = farm.sampling(100)
    other = farm.start_worker("b", emulator="--step-seconds 0.01")

    assert "fetches nothing more" in order(farm, "drain", worker.name, "--now")

    # From here on the order stands. A second is promised (`bench.drain` measures it); a machine may be busy.
    eventually(lambda: job.refresh().record.worker == other.name, within_s=JOB_S)
    eventually(lambda: farm.says(worker, lambda it: it.drain == "now"), within_s=JOB_S)
    assert job.wait(JOB_S).record.attempts_failed == 0
    assert [note.outcome for note in notes(job)] == ["released", "succeeded"]
    assert "fetches again" in order(farm, "drain", worker.name, "--undo")
    farm.wait_ready(worker)


def test_a_worker_that_is_drained_without_haste_ends_its_job_and_takes_no_other(new_farm: Farms) -> None:
    farm = new_farm()
    worker = farm.start_worker()
    job = farm.sampling(60)

    order(farm, "drain", worker.name)
    later = farm.submit()

    assert outcomes(job.wait(JOB_S)) == ["succeeded"]
    assert later.refresh().state is JobState.QUEUED
    assert outcomes(later) == []
    order(farm, "drain", worker.name, "--undo")
    later.wait(JOB_S)


def test_a_job_on_which_every_machine_fails_ends_as_poison(new_farm: Farms) -> None:
    farm = new_farm(max_machine_failures=2)
    farm.start_worker(emulator=faults(always("KSamplerAdvanced", "sticky_cuda")), FARM_PROBE_AFTER_S="1")

    job = farm.wait_final(farm.submit())

    assert job.state is JobState.FAILED
    assert error_of(job).code == "machines_failed"


def test_a_notice_of_the_cloud_gives_the_job_to_another_machine(new_farm: Farms, tmp_path: Path) -> None:
    farm = new_farm()
    notice = tmp_path / "notice"
    hook = {"FARM_SPOT": "command", "FARM_SPOT_COMMAND": f"test -e {notice}", "FARM_DRAIN_GRACE_S": "1"}
    going = farm.start_worker("a", emulator="--step-seconds 0.5", **hook)
    job = farm.sampling(100)
    staying = farm.start_worker("b")

    notice.touch()

    eventually(lambda: job.refresh().record.worker == staying.name, within_s=JOB_S)
    assert outcomes(job) == ["released"]
    going.told("spot_notice")
    job.cancel()
    farm.wait_final(job)
