"""A worker that is told to end does end, whatever it is in the midst of, and no job pays for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from farm.job import JobState
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.s3 import S3Server
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip, outcomes

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

Farms = Callable[..., WholeFarm]
LONG = 40  # steps: two seconds
ENDLESS = """--faults '[{"kind":"slow","factor":20,"times":null}]'"""
TURNS = 10
# Beyond the grace: a process whose main thread hears nobody any more ends itself (`worker.life`).
FORCED_S = 16.0 + 8.0


@pytest.fixture
def valkey_proxy(valkey_url: str) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", int(valkey_url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.host, s3_server.port) as proxy:
        yield proxy


def end_tree(worker: WorkerProcess) -> None:
    """SIGTERM to a worker and all that it started, as systemd and an init in a container send it."""
    process = psutil.Process(worker.child.pid)
    for each in (process, *process.children(recursive=True)):
        os.kill(each.pid, signal.SIGTERM)


def test_a_signal_to_the_whole_tree_gives_the_job_back_ten_times_of_ten(new_farm: Farms) -> None:
    farm = new_farm(avoid_s=0.0)
    job = farm.submit(a_clip(steps=LONG), max_attempts=1)
    for turn in range(TURNS):
        worker = farm.start_worker(f"w{turn}", emulator=ENDLESS, FARM_DRAIN_GRACE_S="0.5")
        farm.wait_step(job)

        end_tree(worker)

        assert worker.child.wait(60) == 0
        assert job.refresh().state is JobState.QUEUED
    assert outcomes(job) == ["released"] * TURNS
    assert job.record.attempts_failed == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_other_signals_end_a_worker_as_sigterm_does(new_farm: Farms, number: signal.Signals) -> None:
    farm = new_farm()
    worker = farm.start_worker("a")
    job = farm.sampling(LONG)

    worker.signal(number)

    assert worker.child.wait(60) == 0
    assert job.wait(JOB_S).state is JobState.SUCCEEDED
    assert outcomes(job) == ["succeeded"]


def test_a_worker_that_redis_does_not_answer_any_more_ends_all_the_same(
    new_farm: Farms, valkey_proxy: FaultProxy
) -> None:
    farm = new_farm()
    worker = farm.start_worker(
        "cut", FARM_REDIS_URL=f"redis://127.0.0.1:{valkey_proxy.port}/0", FARM_DRAIN_GRACE_S="1"
    )
    comfy = worker.comfy()
    valkey_proxy.mode = Mode.BLACKHOLE

    worker.signal(signal.SIGTERM)
    asked = time.monotonic()

    assert worker.child.wait(3 * FORCED_S) in (0, os.EX_TEMPFAIL)
    assert time.monotonic() - asked < 2 * FORCED_S  # it is forced to, however slow the machine
    eventually(lambda: not comfy.is_running(), within_s=JOB_S)


def test_a_worker_whose_storage_is_silent_ends_with_its_files_kept(
    new_farm: Farms, s3_proxy: FaultProxy
) -> None:
    farm = new_farm()
    worker = farm.start_worker("a", FARM_S3_ENDPOINT_URL=s3_proxy.url, FARM_DRAIN_GRACE_S="4")
    s3_proxy.mode = Mode.BLACKHOLE
    job = farm.submit()
    farm.wait_phase(job, "publishing")

    worker.signal(signal.SIGTERM)

    assert worker.child.wait(3 * FORCED_S) in (0, os.EX_TEMPFAIL)
    assert job.refresh().state is JobState.QUEUED
    s3_proxy.mode = Mode.PASS
    again = farm.start_worker("a", FARM_S3_ENDPOINT_URL=s3_proxy.url)
    job.wait(JOB_S)
    assert len(again.runs(job.job_id)) == 1
