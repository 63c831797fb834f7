"""A Redis that is slow, loads its data, cannot write, or is full: nothing is half-stored, and it is told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest
import redis
from pydantic import SecretStr

from farm.errors import StoreUnavailable
from farm.job import JobState
from farm.settings.redis import RedisSettings
from farm.store.base import Claim, LeaseAnswer, StoreLimits
from farm.store.redis.store import RedisJobStore, connect
from farm.testing import PlainNotifier
from tests.support.fault_proxy import FaultProxy
from tests.support.jobs import a_job, a_result
from tests.support.valkey import ValkeyServer, eventually

StartValkey = Callable[..., ValkeyServer]


def open_store(url: str, namespace: str = "farm") -> RedisJobStore:
    settings = RedisSettings.read(url=SecretStr(url), namespace=namespace)
    return connect(settings, StoreLimits(), PlainNotifier(f"{{{namespace}}}:q:"))


def refuses(store: RedisJobStore, why: str) -> bool:
    """Whether a submit is refused for that reason now."""
    try:
        store.submit([a_job()])
    except StoreUnavailable as exc:
        return why in str(exc)
    return False


def test_a_redis_that_answers_late_is_waited_for(start_valkey: StartValkey) -> None:
    server = start_valkey()
    with FaultProxy("127.0.0.1", server.port) as proxy:
        proxy.latency_s = 0.25  # each way
        store = open_store(proxy.url.replace("http://", "redis://"))
        job_id = store.submit([a_job()])[0].job_id

        claim = store.claim(job_id, worker="w1")

        assert isinstance(claim, Claim)
        assert store.renew(job_id, 1, token=claim.token) is LeaseAnswer.OK
        assert store.succeed(job_id, 1, a_result(), token=claim.token) is LeaseAnswer.OK
        store.close()


def test_a_redis_that_loads_its_data_is_told_and_has_all_of_it_afterwards(start_valkey: StartValkey) -> None:
    # It looks at its clients after each thousand commands that it loads: there have to be many of these.
    slowly = ("--key-load-delay", "250")
    server = start_valkey("--appendonly", "yes", "--appendfsync", "always", *slowly)
    store = open_store(server.url)
    store.submit([a_job() for _ in range(2000)])
    server.kill()

    process = subprocess.Popen(server.command())
    try:
        eventually(lambda: refuses(store, "loading its data"), within_s=20)
        eventually(lambda: _takes(store), within_s=60)

        assert store.counts().by_state[JobState.QUEUED] == 2001
    finally:
        process.kill()
        process.wait()


def _takes(store: RedisJobStore) -> bool:
    try:
        return store.submit([a_job()])[0].created
    except StoreUnavailable:
        return False


def test_a_redis_that_cannot_write_to_disk_takes_nothing_until_it_can(start_valkey: StartValkey) -> None:
    server = start_valkey("--save", "3600 1000000")
    store = open_store(server.url)
    kept = store.submit([a_job()])[0].job_id
    in_the_way = server.folder / "dump.rdb"
    in_the_way.mkdir()
    _save(server)

    eventually(lambda: refuses(store, "cannot write its data to disk"), within_s=20)

    accepted = store.counts().by_state[JobState.QUEUED]
    assert refuses(store, "cannot write its data to disk")
    assert store.counts().by_state[JobState.QUEUED] == accepted
    assert store.get(kept).state is JobState.QUEUED
    in_the_way.rmdir()
    _save(server)
    eventually(lambda: _takes(store), within_s=20)


def _save(server: ValkeyServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.bgsave()


def test_a_job_that_a_full_redis_refused_left_nothing_behind(start_valkey: StartValkey) -> None:
    server = start_valkey("--maxmemory-policy", "noeviction")
    store = open_store(server.url)
    kept = store.submit([a_job()])[0].job_id
    with redis.Redis.from_url(server.url) as client:
        before = sorted(client.scan_iter(count=1000))
        client.config_set("maxmemory", 1)
        refused = a_job(idempotency_key="k", labels=["a"])

        with pytest.raises(StoreUnavailable, match=r"memory is full \(maxmemory\); nothing was stored"):
            store.submit([refused])

        assert sorted(client.scan_iter(count=1000)) == before
        assert store.get(kept).state is JobState.QUEUED
        client.config_set("maxmemory", 0)
    # The key is not taken by a job that is not there.
    assert store.submit([refused])[0].created


def _submit_five(where: tuple[str, str]) -> list[tuple[str, bool]]:
    store = open_store(*where)
    with ThreadPoolExecutor(5) as pool:
        done = list(
            pool.map(lambda _: store.submit([a_job(idempotency_key="order 7", title="one")])[0], range(5))
        )
    return [(each.job_id, each.created) for each in done]


def test_four_processes_of_five_threads_with_one_key_make_one_job(valkey_url: str, namespace: str) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        answers = [pair for found in pool.map(_submit_five, [(valkey_url, namespace)] * 4) for pair in found]

    assert len({job_id for job_id, _ in answers}) == 1
    assert [created for _, created in answers].count(True) == 1
