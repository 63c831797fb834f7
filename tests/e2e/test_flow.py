"""Jobs one after the other: the GPU does not wait for messages, uploads or bookkeeping."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from farm.handle import Job
from tests.support.fault_proxy import FaultProxy
from tests.support.s3 import S3Server
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip

Farms = Callable[..., WholeFarm]

# Five times what it takes on a quiet machine, and a third of what an event loop costs that nobody wakes.
MOST_S = 0.15


def test_the_next_job_begins_as_soon_as_the_gpu_is_free(farm: WholeFarm, worker: WorkerProcess) -> None:
    jobs = [farm.submit(a_clip(steps=2)) for _ in range(20)]

    for job in jobs:
        job.wait(JOB_S)

    assert usual(idle_s(worker, jobs)) < MOST_S


def test_a_slow_upload_does_not_keep_the_gpu_waiting(new_farm: Farms, s3_server: S3Server) -> None:
    with FaultProxy(s3_server.host, s3_server.port) as proxy:
        farm = new_farm(s3=s3_server.settings(endpoint_url=proxy.url, prefix="slow"))
        worker = farm.start_worker()
        farm.submit().wait(JOB_S)
        proxy.latency_s = 0.1
        jobs = [farm.submit(a_clip(steps=14)) for _ in range(6)]

        published_s = [job.wait(JOB_S).result().facts.timings_s["publish"] for job in jobs]

    assert min(published_s) > 3 * MOST_S
    assert usual(idle_s(worker, jobs)) < MOST_S


def test_jobs_run_in_the_order_of_their_priority(farm: WholeFarm, worker: WorkerProcess) -> None:
    first = farm.submit(a_clip(steps=20))
    farm.wait_step(first)
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


def idle_s(worker: WorkerProcess, jobs: Sequence[Job]) -> list[float]:
    """Seconds from the end of each run to the arrival of the next one."""
    ended = [moment(worker, job, "ended") for job in jobs[:-1]]
    posted = [moment(worker, job, "posted") for job in jobs[1:]]
    return [after - before for before, after in zip(ended, posted, strict=True)]


def usual(seconds: Sequence[float]) -> float:
    """The lower quartile: other tests delay some hand-overs, a wait of our own would delay all of them."""
    return statistics.quantiles(seconds, n=4)[0]


def moment(worker: WorkerProcess, job: Job, event: str) -> float:
    """When the worker's emulator wrote down that event, in seconds of its clock."""
    return float(next(entry["at"] for entry in worker.record(job.job_id) if entry["event"] == event))
