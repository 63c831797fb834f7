"""A primary that dies behind Sentinel: what was accepted is there, and what ran is booked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from farm.broker import make_app
from farm.errors import NotDurable, StoreUnavailable
from farm.job import JobState
from farm.process.child import free_port
from farm.settings.redis import RedisSettings
from farm.store.base import Claim, LeaseAnswer, StoreLimits
from farm.store.redis.store import RedisJobStore, connect
from farm.testing import PlainNotifier
from tests.support.jobs import a_job, a_result, claimed
from tests.support.sentinel import Watched
from tests.support.valkey import eventually

FAIL_OVER_S = 30.0


def open_store(url: str, *, replicas: int = 0) -> RedisJobStore:
    settings = RedisSettings.read(url=SecretStr(url), timeout_s=2.0, replicas=replicas)
    return connect(settings, StoreLimits(lease_s=60), PlainNotifier("{farm}:q:"))


def test_no_accepted_job_is_lost_when_the_primary_dies_and_a_replica_had_to_have_it(
    start_watched: Callable[..., Watched],
) -> None:
    watched = start_watched(sentinels=3)
    producer, worker = open_store(watched.url, replicas=1), open_store(watched.url)
    running = producer.submit([a_job()])[0].job_id
    claim = claimed(worker, running)
    accepted: list[str] = []
    stop = threading.Event()

    def go_on_submitting() -> None:
        while not stop.is_set():
            with contextlib.suppress(StoreUnavailable):
                accepted.append(producer.submit([a_job()])[0].job_id)

    thread = threading.Thread(target=go_on_submitting)
    thread.start()
    eventually(lambda: len(accepted) > 50)
    before = len(accepted)
    watched.primary.kill()
    # The replica has no replica of its own now: jobs are stored there, and not accepted.
    eventually(lambda: _renewed(worker, claim), within_s=FAIL_OVER_S)
    stop.set()
    thread.join()

    assert len(accepted) >= before
    found = {job_id: worker.get(job_id).state for job_id in accepted}
    assert set(found.values()) == {JobState.QUEUED}
    assert worker.succeed(running, 1, a_result(), token=claim.token) is LeaseAnswer.OK
    told = [not_replicated(producer, key) for key in ("one", "one", "other")]
    one, again, other = (error.job_ids for error in told)
    assert one == again != other  # the second one asks for what is there, and is not told that it is safe
    assert [worker.get(job_id).state for job_id in (*one, *other)] == [JobState.QUEUED] * 2
    assert worker.id_of_key("one") == one[0]
    assert open_store(watched.url).submit([a_job()])[0].created


def not_replicated(producer: RedisJobStore, key: str) -> NotDurable:
    with pytest.raises(NotDurable, match=r"stored, not replicated: only 0 of 1 .*\(FARM_REPLICAS\)") as told:
        producer.submit([a_job(idempotency_key=key)])
    assert told.value.job_ids[0] in str(told.value)
    return told.value


def _renewed(store: RedisJobStore, claim: Claim) -> bool:
    with contextlib.suppress(StoreUnavailable):
        return store.renew(claim.job_id, claim.attempt, token=claim.token) is LeaseAnswer.OK
    return False


def test_an_attempt_whose_claim_was_lost_in_the_fail_over_cannot_write_over_the_next_one(
    start_watched: Callable[..., Watched],
) -> None:
    watched = start_watched(sentinels=1)
    store, on_replica = open_store(watched.url), open_store(watched.replica.url)
    job_id = store.submit([a_job()])[0].job_id
    eventually(lambda: on_replica._command("EXISTS", on_replica.keys.job(job_id)))
    # As if the link to the replica had broken just before the claim.
    on_replica._command("REPLICAOF", "127.0.0.1", "1")
    lost = claimed(store, job_id)

    watched.primary.kill()
    on_replica._command("REPLICAOF", "NO", "ONE")
    second = on_replica.claim(job_id, worker="w2")

    assert isinstance(second, Claim)
    assert second.attempt == lost.attempt
    assert on_replica.renew(job_id, 1, token=lost.token) is LeaseAnswer.LOST
    assert on_replica.succeed(job_id, 1, a_result(), token=lost.token) is LeaseAnswer.LOST
    assert on_replica.succeed(job_id, 1, a_result(), token=second.token) is LeaseAnswer.OK


def test_a_primary_that_nobody_knows_is_told_by_name(start_watched: Callable[..., Watched]) -> None:
    store = open_store(start_watched(sentinels=1).url.replace("master=farm-primary", "master=other"))

    with pytest.raises(StoreUnavailable, match=r"other \(by the sentinels 127.*no sentinel knows a primary"):
        store.counts()


def test_sentinels_that_nobody_runs_are_told_with_their_addresses() -> None:
    port = free_port()
    store = open_store(f"sentinel://127.0.0.1:{port},127.0.0.1:{port}/0?master=m&sentinel_password=s3cret")

    with pytest.raises(StoreUnavailable) as raised:
        store.counts()

    text = str(raised.value)
    assert f"by the sentinels 127.0.0.1:{port}, 127.0.0.1:{port}" in text
    assert "2 of its sentinels did not answer" in text
    assert "s3cret" not in text


def test_celery_is_told_of_the_same_sentinels() -> None:
    url = "sentinel://me:p%40ss@one:1,two/3?master=m&sentinel_password=word"

    app = make_app(RedisSettings.read(url=SecretStr(url)))

    assert app.conf.broker_url == "sentinel://me:p%40ss@one:1/3;sentinel://me:p%40ss@two:26379/3"
    assert app.conf.broker_transport_options["master_name"] == "m"
    assert app.conf.broker_transport_options["sentinel_kwargs"]["password"] == "word"
