"""The storage goes away when clips are finished: nothing is rendered twice, and the GPU goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from farm.handle import Job
from farm.job import JobState
from farm.status.not_fetching import NotFetching
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.s3 import S3Server
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, error_of, outcomes

Farms = Callable[..., WholeFarm]
BRIEF = {"FARM_PUBLISH_PATIENCE_S": "1"}


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.host, s3_server.port) as proxy:
        yield proxy


def start(farm: WholeFarm, proxy: FaultProxy, *, emulator: str = "", **variables: str) -> WorkerProcess:
    """A worker that reaches S3 by the proxy; the test itself has another way."""
    return farm.start_worker(emulator=emulator, FARM_S3_ENDPOINT_URL=proxy.url, **{**BRIEF, **variables})


def go_away(proxy: FaultProxy) -> None:
    proxy.mode = Mode.REFUSE
    proxy.reset_all()


def waits_for_the_storage(job: Job) -> bool:
    return job.refresh().state is JobState.QUEUED and "unpublished" in outcomes(job)


def manifest(farm: WholeFarm, job: Job) -> dict[str, object]:
    made = job.refresh().record.result
    assert made is not None
    read: dict[str, object] = json.loads(farm.farm.storage.read_bytes(made.manifest_key))
    return read


def test_jobs_that_end_while_the_storage_is_away_are_published_when_it_is_back_and_rendered_once(
    new_farm: Farms, proxy: FaultProxy
) -> None:
    farm = new_farm()
    worker = start(farm, proxy)
    go_away(proxy)

    first = farm.submit(max_attempts=1)
    eventually(lambda: waits_for_the_storage(first), within_s=JOB_S)
    assert error_of(first).details["files_wait_on"] == worker.name
    second = farm.submit(max_attempts=1)  # the GPU goes on
    eventually(lambda: waits_for_the_storage(second), within_s=JOB_S)
    proxy.mode = Mode.PASS
    for job in (first, second):
        job.wait(JOB_S)
        assert len(worker.runs(job.job_id)) == 1
        assert set(outcomes(job)[:-1]) == {"unpublished"}
        assert job.record.attempts_failed == 0
        told = manifest(farm, job)
        assert (told["rendered_by_attempt"], told["attempt"]) == (1, job.record.attempt)
        assert farm.farm.storage.exists(job.result().main.key)
    # Let go of after the record was written.
    eventually(lambda: not list((worker.folder / "kept").iterdir()), within_s=JOB_S)


def test_files_that_wait_for_the_storage_outlive_their_worker(new_farm: Farms, proxy: FaultProxy) -> None:
    farm = new_farm()
    worker = start(farm, proxy)
    go_away(proxy)
    job = farm.submit()
    eventually(lambda: waits_for_the_storage(job), within_s=JOB_S)

    worker.kill()

    eventually(lambda: worker.child.poll() is not None, within_s=JOB_S)
    proxy.mode = Mode.PASS
    again = start(farm, proxy)
    job.wait(JOB_S)
    assert len(again.runs(job.job_id)) == 1  # the record is of both
    assert manifest(farm, job)["rendered_by_attempt"] == 1


def test_a_worker_with_too_many_finished_files_fetches_nothing_until_the_storage_is_back(
    new_farm: Farms, proxy: FaultProxy
) -> None:
    farm = new_farm()
    # Room for one clip of a MiB and a half: when one waits, more than half is taken.
    worker = start(farm, proxy, emulator="--clip-mib 1", FARM_RETAINED_LIMIT_GIB="0.0015")
    go_away(proxy)
    job = farm.submit()
    eventually(lambda: waits_for_the_storage(job), within_s=JOB_S)

    eventually(
        lambda: farm.says(worker, lambda it: it.not_fetching == (NotFetching.STORAGE_AWAY,)), within_s=JOB_S
    )

    waiting = farm.submit()
    proxy.mode = Mode.PASS
    job.wait(JOB_S)
    waiting.wait(JOB_S)
    assert len(worker.runs(job.job_id)) == 1


def test_a_job_that_is_canceled_while_its_files_wait_takes_them_along(
    new_farm: Farms, proxy: FaultProxy
) -> None:
    farm = new_farm()
    worker = start(farm, proxy)
    go_away(proxy)
    job = farm.submit()
    eventually(lambda: waits_for_the_storage(job), within_s=JOB_S)

    assert job.cancel() is JobState.CANCELED

    eventually(lambda: not list((worker.folder / "kept").iterdir()), within_s=JOB_S)
