"""The whole farm with a Redis that is full, that would evict jobs, or that allows only what is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from farm.job import JobState
from farm.store.base import Drain
from farm.store.redis.keys import Keys
from farm.store.redis.server import check_server
from tests.support.valkey import ValkeyServer, eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm

Farms = Callable[..., WholeFarm]


def test_a_worker_outlives_a_full_redis_and_does_its_jobs_once_there_is_room(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms
) -> None:
    valkey = start_valkey("--appendonly", "yes", "--maxmemory-policy", "noeviction")
    farm = new_farm(redis_url=valkey.url)
    worker = farm.start_worker()
    store = farm.farm.store
    store.set_drain(worker.name, Drain.FINISH)
    worker.told("drain")
    jobs = [farm.submit() for _ in range(3)]
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory", 1)
        keys = Keys(farm.redis.namespace)
        client.delete(keys.drain(worker.name))  # as a full server still takes it
        client.publish(keys.control, b"")
        eventually(lambda: "redis_full" in worker.log, within_s=JOB_S)

        client.config_set("maxmemory", 0)

    for job in jobs:
        assert farm.wait_final(job).state is JobState.SUCCEEDED
    assert worker.child.poll() is None


def test_a_redis_that_would_evict_jobs_is_refused_at_the_start_with_the_remedy(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms
) -> None:
    valkey = start_valkey("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")

    worker = new_farm(redis_url=valkey.url).launch()

    eventually(lambda: worker.child.poll() is not None, within_s=START_S)
    assert worker.child.poll() == 78
    assert "allkeys-lru" in worker.log
    assert "noeviction" in worker.log


def rights_of_workers() -> list[str]:
    """What deploy/users.acl gives a worker, with a password."""
    users = (Path(__file__).parents[2] / "deploy" / "users.acl").read_text().splitlines()
    start = "user farm-worker "
    line = next(line for line in users if line.startswith(start))
    return line.removeprefix(start).replace(">WORKER_PASSWORD", ">secret").split()


def test_a_worker_with_no_more_than_the_rights_of_its_user_runs_jobs(
    start_valkey: Callable[..., ValkeyServer], new_farm: Farms
) -> None:
    valkey = start_valkey("--appendonly", "yes", "--user", "farm", *rights_of_workers())
    farm = new_farm(redis_url=valkey.url.replace("redis://", "redis://farm:secret@"), namespace="farm")
    worker = farm.start_worker()

    job = farm.submit()

    with redis.Redis.from_url(valkey.url) as admin:
        eventually(lambda: job.refresh().state.final or admin.acl_log(), within_s=JOB_S)
        assert admin.acl_log() == []
    assert farm.wait_final(job).state is JobState.SUCCEEDED
    assert check_server(farm.farm.store.ping()) == []
    assert "NOPERM" not in worker.log
    assert "no permissions" not in worker.log
    with redis.Redis.from_url(farm.redis.url.get_secret_value()) as client:
        for forbidden in (("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("GET", "other")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*forbidden)
