"""What every `JobStore` promises of news of many jobs, and of blobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from farm.job import JobEvent
from farm.settings.redis import RedisSettings
from farm.store.base import StoreLimits
from farm.store.redis.store import connect
from farm.store.roles import JobStore
from farm.testing import MemoryJobStore, PlainNotifier
from tests.support.jobs import a_job, a_result
from tests.support.valkey import eventually


@pytest.fixture(params=["memory", "redis"])
def any_store(request: pytest.FixtureRequest) -> Iterator[JobStore]:
    """The form of store under test."""
    if request.param == "memory":
        yield MemoryJobStore()
        return
    url: str = request.getfixturevalue("valkey_url")
    namespace: str = request.getfixturevalue("namespace")
    settings = RedisSettings.read(url=SecretStr(url), namespace=namespace)
    store = connect(settings, StoreLimits(), PlainNotifier(f"{{{namespace}}}:q:"))
    yield store
    store.close()


def running(store: JobStore, count: int) -> list[str]:
    """Jobs that a worker has claimed."""
    ids = [done.job_id for done in store.submit([a_job() for _ in range(count)])]
    for job_id in ids:
        store.claim(job_id, worker="w1")
    return ids


def test_news_come_for_each_job_after_its_own_mark(any_store: JobStore) -> None:
    first, second, third = running(any_store, 3)
    seen = any_store.events(first)[-1].event_id
    any_store.succeed(first, 1, a_result())

    news = any_store.news({first: seen, second: "0"})

    assert {job_id: [event.data["state"] for event in events] for job_id, events in news.items()} == {
        first: ["succeeded"],
        second: ["queued", "running"],
    }
    assert third not in news
    assert news[second] == any_store.events(second)


def test_at_most_so_many_come_of_each_job(any_store: JobStore) -> None:
    ids = running(any_store, 2)

    news = any_store.news(dict.fromkeys(ids, "0"), limit=1)

    assert [len(news[job_id]) for job_id in ids] == [1, 1]


def test_jobs_that_wait_or_are_unknown_have_no_news(any_store: JobStore) -> None:
    waiting = any_store.submit([a_job()])[0].job_id

    assert any_store.news({waiting: "0", "nowhere": "0"}) == {}
    assert any_store.news({}) == {}


def test_who_waits_for_news_gets_them_when_they_come(any_store: JobStore) -> None:
    waiting = any_store.submit([a_job()])[0].job_id
    claim = threading.Timer(0.1, any_store.claim, (waiting,), {"worker": "w1"})
    claim.start()

    news: dict[str, list[JobEvent]] = {}
    until = time.monotonic() + 10
    while not news and time.monotonic() < until:
        news = any_store.news({waiting: "0"}, block_s=2.0)

    assert [event.data["state"] for event in news[waiting]][-1] == "running"
    claim.join()


def test_a_wait_for_news_that_do_not_come_ends(any_store: JobStore) -> None:
    ids = running(any_store, 1)
    seen = any_store.events(ids[0])[-1].event_id

    assert any_store.news({ids[0]: seen}, block_s=0.05) == {}


def test_a_blob_is_kept_for_its_time(any_store: JobStore) -> None:
    any_store.put_blob("definitions:1", b"\x78\x00\xff", ttl_s=60)
    any_store.put_blob("definitions:2", b"short", ttl_s=0.05)

    assert any_store.get_blob("definitions:1") == b"\x78\x00\xff"
    assert any_store.get_blob("definitions:3") is None
    eventually(lambda: any_store.get_blob("definitions:2") is None)


def test_a_blob_can_be_put_again(any_store: JobStore) -> None:
    any_store.put_blob("a", b"1", ttl_s=60)
    any_store.put_blob("a", b"2", ttl_s=60)

    assert any_store.get_blob("a") == b"2"


def test_a_closed_store_opens_again_when_it_is_used(any_store: JobStore) -> None:
    job_id = any_store.submit([a_job()])[0].job_id

    any_store.close()

    assert any_store.get(job_id).job_id == job_id


def test_the_newest_events_are_the_last_ones_in_order(any_store: JobStore) -> None:
    (job_id,) = running(any_store, 1)
    any_store.cancel(job_id)
    everything = any_store.events(job_id)

    assert any_store.recent_events(job_id) == everything
    assert any_store.recent_events(job_id, limit=1) == everything[-1:]


def test_a_job_that_nobody_claimed_has_no_newest_event(any_store: JobStore) -> None:
    (submitted,) = any_store.submit([a_job()])

    assert any_store.recent_events(submitted.job_id) == []
    assert any_store.recent_events("0" * 32) == []
