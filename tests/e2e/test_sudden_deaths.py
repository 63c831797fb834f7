"""What dies or freezes in the middle of a job: the job succeeds all the same, and exactly once."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from farm.errors import JobForgotten, StoreUnavailable
from farm.handle import Job
from farm.job import JobState
from farm.store.base import Drain
from tests.support.sentinel import Watched
from tests.support.valkey import ValkeyServer, eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm, WorkerProcess, a_clip, outcomes

Farms = Callable[..., WholeFarm]
LONG = 60  # steps: three seconds

# For a job that shall not end by itself while its worker lives.
ENDLESS = """--faults '[{"kind":"slow","factor":20,"times":null}]'"""


def succeeded_once(farm: WholeFarm, job: Job) -> None:
    """One accepted result; its files are there, and those of no other attempt."""
    record = job.wait(JOB_S).record
    assert [note.outcome for note in record.attempts].count("succeeded") == 1
    assert farm.states(job).count("succeeded") == 1
    clip = job.result().main
    assert f"/{record.token}/" in clip.key
    assert farm.farm.storage.exists(clip.key)
    assert farm.holds_only_the_result_of(job)


def test_a_killed_worker_costs_an_attempt_and_leaves_no_orphan(new_farm: Farms) -> None:
    farm = new_farm()
    workers = [farm.launch("a"), farm.launch("b")]
    farm.wait_ready(*workers)
    job = farm.sampling(LONG)
    dying = next(worker for worker in workers if worker.name == job.record.worker)
    other = next(worker for worker in workers if worker is not dying)
    comfy = dying.comfy()

    dying.kill()

    succeeded_once(farm, job)
    assert outcomes(job) == ["lost", "succeeded"]
    assert job.record.attempt == 2
    assert job.record.worker == other.name
    eventually(lambda: not comfy.is_running(), within_s=JOB_S)


# A ComfyUI that says its flags and then takes for ever to start.
SLOW_COMFYUI = """
import argparse, time
argparse.ArgumentParser().parse_known_args()
time.sleep(600)
"""


def test_a_killed_lone_workers_job_waits_again_while_the_next_comfyui_still_starts(
    new_farm: Farms, tmp_path: Path
) -> None:
    farm = new_farm()
    worker = farm.start_worker(emulator=ENDLESS)
    job = farm.sampling(LONG)
    worker.kill()
    slow = tmp_path / "ComfyUI"
    for name in ("comfy", "models"):
        (slow / name).mkdir(parents=True)
    (slow / "nodes.py").touch()
    (slow / "main.py").write_text(SLOW_COMFYUI)

    again = farm.launch(COMFYUI_DIR=str(slow), CUDA_VISIBLE_DEVICES="-1")

    eventually(lambda: job.refresh().state is JobState.QUEUED, within_s=START_S)
    eventually(lambda: farm.says(again, lambda it: it.state == "starting"), within_s=START_S)
    assert farm.says(again, lambda it: it.is_starting and it.pid == again.child.pid)
    assert not again.entries("comfy_ready")


def test_a_killed_comfyui_costs_an_attempt_and_is_started_again(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    started = len(worker.entries("comfy_ready"))
    job = farm.sampling(LONG)

    worker.comfy().kill()

    succeeded_once(farm, job)
    assert outcomes(job) == ["failed", "succeeded"]
    first = job.record.attempts[0]
    assert first.error is not None
    assert first.error.code == "comfy_died"
    assert "SIGKILL" in first.error.message
    assert len(worker.told("comfy_ready", times=started + 1)) == started + 1


def test_a_killed_valkey_costs_nothing_when_it_is_back_within_the_lease(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms
) -> None:
    valkey = start_valkey("--appendonly", "yes", "--appendfsync", "always", password="secret")
    farm = new_farm(redis_url=valkey.url, lease_s=8.0)
    worker = farm.start_worker()
    job = farm.submit(a_clip(steps=LONG))
    waiting = farm.submit()
    farm.wait_step(job)

    valkey.kill()

    worker.told("store_away")
    valkey.start()
    succeeded_once(farm, job)
    succeeded_once(farm, waiting)
    assert outcomes(job) == ["succeeded"]
    assert len(worker.runs(job.job_id)) == 1


def test_a_dead_primary_behind_sentinel_costs_the_running_job_nothing(
    start_watched: Callable[..., Watched], new_farm: Farms
) -> None:
    watched = start_watched(sentinels=3)
    farm = new_farm(redis_url=watched.url, lease_s=10.0)
    worker = farm.start_worker()
    job, waiting = farm.submit(a_clip(steps=LONG)), farm.submit()
    farm.wait_step(job)

    watched.primary.kill()

    worker.told("store_away")
    succeeded_once(farm, _patiently(farm.submit))
    succeeded_once(farm, job)
    succeeded_once(farm, waiting)
    assert outcomes(job) == ["succeeded"]


def _patiently(submit: Callable[[], Job]) -> Job:
    """The job, once there is a primary that takes it."""
    taken: list[Job] = []

    def accepted() -> bool:
        with contextlib.suppress(StoreUnavailable):
            taken.append(submit())
        return bool(taken)

    eventually(accepted, within_s=JOB_S)
    return taken[0]


def test_an_outage_of_valkey_longer_than_the_lease_costs_no_second_run(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms
) -> None:
    valkey = start_valkey("--appendonly", "yes", "--appendfsync", "always")
    farm = new_farm(redis_url=valkey.url)
    worker = farm.start_worker()
    job = farm.sampling(100)

    valkey.kill()

    gone_for_good = time.monotonic() + 1.5 * farm.store.lease_s
    eventually(lambda: time.monotonic() > gone_for_good)
    valkey.start()
    succeeded_once(farm, job)
    assert outcomes(job) == ["succeeded"]
    assert len(worker.runs(job.job_id)) == 1


def test_a_render_that_ends_while_valkey_is_away_is_booked_when_it_is_back(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms
) -> None:
    valkey = start_valkey("--appendonly", "yes", "--appendfsync", "always")
    farm = new_farm(redis_url=valkey.url, lease_s=10.0)
    worker = farm.start_worker()
    job = farm.sampling(LONG)

    valkey.kill()

    eventually(lambda: any(entry["event"] == "ended" for entry in worker.record(job.job_id)), within_s=JOB_S)
    valkey.start()
    succeeded_once(farm, job)
    assert outcomes(job) == ["succeeded"]


@pytest.mark.parametrize("how", ["restarted empty", "flushed"])
def test_a_valkey_that_forgot_everything_ends_old_attempts_and_is_served_anew(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms, how: str
) -> None:
    valkey = start_valkey("--appendonly", "no")
    farm = new_farm(redis_url=valkey.url)
    worker = farm.start_worker()
    forgotten = farm.sampling(100)

    if how == "flushed":
        with redis.Redis.from_url(valkey.url) as client:
            client.flushdb()
    else:
        valkey.kill()
        valkey.start()

    worker.told("redis_forgot")
    with pytest.raises(JobForgotten):
        forgotten.refresh()
    succeeded_once(farm, farm.submit())
    assert farm.says(worker, lambda it: it.redis_forgot_at)
    assert worker.told("lease_lost")[0]["job_id"] == forgotten.job_id
    assert farm.stored(forgotten) == []


def test_a_drained_worker_stays_drained_when_valkey_forgets_the_order(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms
) -> None:
    valkey = start_valkey("--appendonly", "no")
    farm = new_farm(redis_url=valkey.url)
    worker = farm.start_worker()
    store = farm.farm.store
    store.set_drain(worker.name, Drain.FINISH)
    worker.told("drain")

    with redis.Redis.from_url(valkey.url) as client:
        client.flushdb()

    eventually(lambda: store.drain_of(worker.name) is Drain.FINISH, within_s=JOB_S)
    assert len(worker.told("drain")) == 1


@pytest.mark.long
def test_a_frozen_comfyui_is_found_out_and_replaced(farm: WholeFarm, worker: WorkerProcess) -> None:
    job = farm.sampling(LONG)
    frozen = worker.comfy()

    frozen.suspend()

    succeeded_once(farm, job)
    assert outcomes(job) == ["failed", "succeeded"]
    eventually(lambda: not frozen.is_running(), within_s=JOB_S)


def test_a_worker_that_slept_past_its_lease_cannot_publish(new_farm: Farms) -> None:
    farm = new_farm()
    sleeper = farm.start_worker("a", emulator=ENDLESS)
    job = farm.sampling(LONG)

    sleeper.signal(signal.SIGSTOP)

    farm.start_worker("b")
    farm.wait_final(job)
    sleeper.signal(signal.SIGCONT)
    eventually(lambda: sleeper.entries("lease_lost") or sleeper.entries("result_refused"), within_s=JOB_S)
    succeeded_once(farm, job)
    assert outcomes(job) == ["lost", "succeeded"]
    # And it is good for the next job.
    eventually(lambda: farm.says(sleeper, lambda it: not it.not_fetching), within_s=JOB_S)


def test_a_worker_that_drains_gives_its_job_back_at_once(new_farm: Farms) -> None:
    farm = new_farm(lease_s=30.0, renew_s=1.0)
    draining = farm.start_worker("a", emulator=ENDLESS, FARM_DRAIN_GRACE_S="0.5")
    job = farm.sampling(LONG)
    farm.start_worker("b")

    draining.signal(signal.SIGTERM)

    eventually(lambda: job.refresh().record.attempt == 2, within_s=JOB_S)
    assert draining.child.wait(JOB_S) == 0
    assert farm.status(draining) is None
    succeeded_once(farm, job)
    assert outcomes(job) == ["released", "succeeded"]
    assert job.record.attempts_failed == 0


def test_a_worker_that_drains_ends_what_ends_within_the_grace(new_farm: Farms) -> None:
    farm = new_farm()
    draining = farm.start_worker("a")
    job = farm.sampling(LONG)

    draining.signal(signal.SIGTERM)

    assert draining.child.wait(JOB_S) == 0
    succeeded_once(farm, job)
    assert outcomes(job) == ["succeeded"]


def test_an_idle_worker_ends_at_once_and_takes_comfyui_along(new_farm: Farms) -> None:
    farm = new_farm()
    draining = farm.start_worker("a")
    comfy = draining.comfy()

    draining.signal(signal.SIGTERM)

    assert draining.child.wait(JOB_S) == 0
    assert not comfy.is_running()
    assert farm.status(draining) is None
