"""What the fleet does about a ComfyUI that runs otherwise than planned, or for too long."""

from __future__ import annotations

import io
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from farm.cli.fleet.views import workers_table
from farm.fleet.metrics import FleetCollector
from farm.job import JobState
from farm.status.not_fetching import NotFetching
from tests.support.valkey import eventually
from tests.support.whole_farm import START_S, WholeFarm, WorkerProcess

Farms = Callable[..., WholeFarm]


def test_under_strict_a_worker_whose_comfyui_lies_takes_no_job_after_it_was_found_out(
    new_farm: Farms,
) -> None:
    farm = new_farm()
    # It starts as planned; its first job's loads show that nothing stays on the card.
    worker = farm.start_worker("a", emulator="--load-mode novram", FARM_STRICT="1")

    first = farm.wait_state(farm.submit(), JobState.SUCCEEDED)
    second = farm.submit()

    def refuses() -> bool:
        return farm.says(worker, lambda it: NotFetching.NOT_PROVEN in it.not_fetching)

    eventually(refuses, within_s=START_S)
    status = farm.status(worker)
    assert status is not None
    assert status.proof is not None
    assert any("--novram" in difference for difference in status.proof.differences)
    worker.told("not_as_planned")
    assert "not as planned" in worker_line(farm, worker)
    assert f'farm_worker_proof_differences{{worker="{worker.name}"}} 1.0' in metrics(farm)
    assert first.state is JobState.SUCCEEDED
    assert second.refresh().state is JobState.QUEUED


def worker_line(farm: WholeFarm, worker: WorkerProcess) -> str:
    """What `farm workers` shows of it."""
    shown = Console(file=io.StringIO(), width=300)
    shown.print(workers_table([each for each in farm.farm.workers() if each.name == worker.name]))
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def metrics(farm: WholeFarm) -> str:
    """What `farm metrics` tells."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(farm.farm.store))
    return generate_latest(registry).decode()


def test_comfyui_is_started_anew_after_so_many_jobs_and_no_job_is_lost(new_farm: Farms) -> None:
    farm = new_farm()
    worker = farm.start_worker("a", FARM_RECYCLE_JOBS="2")

    jobs = [farm.submit() for _ in range(5)]

    for job in jobs:
        assert farm.wait_final(job).state is JobState.SUCCEEDED
        assert job.refresh().record.attempt == 1
    assert len(worker.told("comfy_recycled", times=2)) == 2
