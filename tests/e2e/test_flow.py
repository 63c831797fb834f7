"""Jobs one after the other: the GPU does not wait for uploads.

That it does not wait for the event loop either is in `tests/unit/worker/fetching/test_consumer.py`;
`bench.overhead` measures both.
"""

from __future__ import annotations

from collections.abc import Callable

from farm.handle import Job
from farm.job import JobState
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.s3 import S3Server
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip

Farms = Callable[..., WholeFarm]


def test_the_next_job_runs_while_the_files_of_the_last_are_still_uploaded(
    new_farm: Farms, s3_server: S3Server
) -> None:
    with FaultProxy(s3_server.host, s3_server.port) as proxy:
        farm = new_farm(s3=s3_server.settings(endpoint_url=proxy.url, prefix="slow"))
        farm.start_worker()
        proxy.mode = Mode.BLACKHOLE

        first, second = farm.submit(), farm.submit()

        for job in (first, second):
            farm.wait_phase(job, "publishing")
        assert not first.refresh().state.final
        proxy.mode = Mode.PASS
        assert [job.wait(JOB_S).state for job in (first, second)] == [JobState.SUCCEEDED] * 2


def test_jobs_run_in_the_order_of_their_priority(farm: WholeFarm, worker: WorkerProcess) -> None:
    farm.sampling(60)
    later = {priority: farm.submit(a_clip(steps=2), priority=priority) for priority in (9, 5, 0, 1, 7)}
    farm.farm.store.prioritize([later[9].job_id], 2)
    farm.farm.store.prioritize([later[1].job_id], 8)  # its first message is still in front of most

    for job in later.values():
        job.wait(JOB_S)

    started = {priority: moment(worker, job, "started") for priority, job in later.items()}
    assert sorted(started, key=lambda priority: started[priority]) == [0, 9, 5, 7, 1]


def test_two_workers_share_a_queue_and_neither_holds_a_second_job(new_farm: Farms) -> None:
    farm = new_farm()
    farm.wait_ready(farm.launch("a"), farm.launch("b"))
    jobs = [farm.submit(a_clip(steps=10)) for _ in range(6)]

    for job in jobs:
        job.wait(JOB_S)

    by_worker = [sum(job.record.worker == worker.name for job in jobs) for worker in farm.workers]
    assert sum(by_worker) == len(jobs)
    assert min(by_worker) >= 2


def moment(worker: WorkerProcess, job: Job, event: str) -> float:
    """When the worker's emulator wrote down that event, in seconds of its clock."""
    return float(next(entry["at"] for entry in worker.record(job.job_id) if entry["event"] == event))
