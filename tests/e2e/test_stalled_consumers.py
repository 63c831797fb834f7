"""Workers that live and fetch nothing, as it happens to Celery's consumers: they repair themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, outcomes

Farms = Callable[..., WholeFarm]
FOUND_OUT_S = 90.0  # the half minute itself: `tests/unit/worker/fetching/test_watchdog.py`

# A worker whose event loop is stuck for good once the file of its first argument exists: it reads no
# connection any more, and does not hear that they were cut. It says so in a second file.
STUCK = """
import pathlib, sys, time
from celery import bootsteps
from worker.app import app
marker = pathlib.Path(sys.argv.pop(1))
class Stuck(bootsteps.StartStopStep):
    requires = tuple(app.steps["consumer"])
    def start(self, consumer):
        consumer.timer.call_repeatedly(0.1, self.look)
    def look(self):
        while marker.exists():
            marker.with_suffix(".held").touch()
            time.sleep(1)
app.steps["consumer"].add(Stuck)
from worker.one import main
main([])
"""


@pytest.mark.long
def test_a_worker_whose_connections_fell_silent_runs_the_next_job(new_farm: Farms, valkey_url: str) -> None:
    farm = new_farm()
    port = int(valkey_url.rpartition(":")[2].partition("/")[0])
    with FaultProxy("127.0.0.1", port) as proxy:
        worker = farm.start_worker(FARM_REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")

        proxy.stall_open()

        job = farm.submit()
        eventually(lambda: job.refresh().record.attempt, within_s=FOUND_OUT_S)
        job.wait(JOB_S)
        assert outcomes(job) == ["succeeded"]
        assert worker.child.poll() is None
        worker.close()


@pytest.mark.long
def test_a_worker_whose_event_loop_is_stuck_ends_so_that_it_is_started_anew(
    new_farm: Farms, tmp_path: Path
) -> None:
    farm = new_farm()
    marker = tmp_path / "stuck"
    worker = farm.launch("a", command=("-c", STUCK, str(marker)))
    farm.wait_ready(worker)
    comfy = worker.comfy()
    marker.touch()
    eventually(marker.with_suffix(".held").exists)  # a job that is sent sooner may still be fetched

    job = farm.submit()

    assert worker.child.wait(FOUND_OUT_S) == 75
    worker.told("consumer_stalled")
    worker.told("consumer_given_up")
    assert not comfy.is_running()
    assert farm.status(worker) is None
    marker.unlink()
    farm.start_worker("a")
    job.wait(JOB_S)
    assert outcomes(job) == ["succeeded"]
