"""A worker that is cut off from Redis while it renders goes on; its result counts if its lease holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, outcomes

Farms = Callable[..., WholeFarm]


@pytest.fixture
def proxy(valkey_url: str) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", int(valkey_url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


def start_behind(farm: WholeFarm, proxy: FaultProxy) -> WorkerProcess:
    """A worker that reaches Redis by the proxy; the others have another way."""
    return farm.start_worker("cut", FARM_REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")


def ended(worker: WorkerProcess, job_id: str) -> bool:
    return any(entry["event"] == "ended" for entry in worker.record(job_id))


def test_a_result_that_is_ready_before_the_lease_ends_is_committed(
    new_farm: Farms, proxy: FaultProxy
) -> None:
    farm = new_farm(lease_s=60.0)
    worker = start_behind(farm, proxy)
    job = farm.sampling(80)

    proxy.mode = Mode.BLACKHOLE

    eventually(lambda: ended(worker, job.job_id), within_s=JOB_S)
    proxy.mode = Mode.PASS
    job.wait(JOB_S)
    assert outcomes(job) == ["succeeded"]
    assert len(worker.runs(job.job_id)) == 1
    worker.close()


def test_a_result_that_comes_after_the_lease_was_lost_is_refused(new_farm: Farms, proxy: FaultProxy) -> None:
    farm = new_farm()
    worker = start_behind(farm, proxy)
    job = farm.sampling(80)
    proxy.mode = Mode.BLACKHOLE

    other = farm.start_worker("other")

    job.wait(2 * JOB_S)
    assert job.record.worker == other.name
    assert outcomes(job) == ["lost", "succeeded"]
    proxy.mode = Mode.PASS
    eventually(lambda: worker.entries("lease_lost") or worker.entries("result_refused"), within_s=JOB_S)
    eventually(lambda: farm.holds_only_the_result_of(job), within_s=JOB_S)
    assert farm.states(job).count("succeeded") == 1
    worker.close()
