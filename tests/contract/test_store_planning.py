"""What every `JobStore` promises of parked jobs, and of the seconds that jobs took."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from pydantic import SecretStr

from comfy.wan.paces import FIRST
from farm.job import JobState
from farm.settings.redis import RedisSettings
from farm.store.base import Claim, StoreLimits
from farm.store.redis.store import connect
from farm.store.roles import JobStore
from farm.testing import MemoryJobStore, PlainNotifier
from tests.support.jobs import QUEUE, a_job

LIMITS = StoreLimits(notify_again_after_s=0.01, paces_kept=3)
WHY = "no live worker has a card of the 48 GiB class"


class Shop:
    """A store, and how many messages a queue has."""

    def __init__(self, store: JobStore, pop: Callable[[], str | None]) -> None:
        self.store = store
        self.pop = pop

    def park(self, count: int = 1) -> list[str]:
        return [done.job_id for done in self.store.submit([a_job(parked=WHY) for _ in range(count)])]


@pytest.fixture(params=["memory", "redis"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """The form of store under test."""
    if request.param == "memory":
        memory = MemoryJobStore(LIMITS)
        yield Shop(memory, lambda: memory.pop_notification(QUEUE))
        return
    url: str = request.getfixturevalue("valkey_url")
    namespace: str = request.getfixturevalue("namespace")
    notifier = PlainNotifier(f"{{{namespace}}}:q:")
    store = connect(RedisSettings.read(url=SecretStr(url), namespace=namespace), LIMITS, notifier)
    with redis.Redis.from_url(url) as client:

        def pop() -> str | None:
            message = client.rpop(notifier.list_key(QUEUE, 5))
            return notifier.job_id_of(message) if isinstance(message, bytes) else None

        yield Shop(store, pop)
    store.close()


def test_a_parked_job_waits_without_a_notification_and_says_why(shop: Shop) -> None:
    (job_id,) = shop.park()

    record, counts = shop.store.get(job_id), shop.store.counts()
    assert (record.state, record.parked) == (JobState.QUEUED, WHY)
    assert (counts.parked, counts.waiting, counts.by_state[JobState.QUEUED]) == (1, (), 1)
    assert shop.store.find().jobs[0].parked == WHY
    assert not shop.store.sweep()
    assert shop.pop() is None


def test_parked_jobs_are_read_oldest_first_and_page_by_page(shop: Shop) -> None:
    ids = shop.park(3)
    shop.store.submit([a_job()])

    first = shop.store.parked(limit=2)
    rest = shop.store.parked(after=first[-1].submitted_at)

    assert [record.job_id for record in first] == ids[:2]
    assert [record.job_id for record in rest] == ids[2:]
    assert shop.store.parked(after=rest[-1].submitted_at) == []


def test_jobs_that_are_let_go_run_before_what_came_later_the_oldest_first(shop: Shop) -> None:
    ids = shop.park(3)
    shop.store.submit([a_job()])

    count = shop.store.unpark(ids[:2], reason="gpu7 has come")

    assert count == 2
    assert [shop.pop(), shop.pop()] == ids[:2]
    record = shop.store.get(ids[0])
    assert (record.state, record.parked) == (JobState.QUEUED, None)
    assert shop.store.events(ids[0])[-1].data["reason"] == "gpu7 has come"
    assert [record.job_id for record in shop.store.parked()] == ids[2:]
    assert shop.store.counts().waiting[0].waiting == 3
    assert isinstance(shop.store.claim(ids[0], worker="gpu7"), Claim)


def test_only_parked_jobs_are_let_go(shop: Shop) -> None:
    waiting = shop.store.submit([a_job()])[0].job_id
    (parked,) = shop.park()
    shop.store.unpark([parked], reason="once")
    notifications = [shop.pop(), shop.pop()]

    count = shop.store.unpark([waiting, parked, "no-such-job"], reason="again")

    assert (count, sorted(map(str, notifications))) == (0, sorted([waiting, parked]))
    assert shop.pop() is None


def test_a_parked_job_can_be_canceled_and_retried_as_any_other(shop: Shop) -> None:
    (job_id,) = shop.park()

    assert shop.store.cancel(job_id) is JobState.CANCELED
    assert (shop.store.parked(), shop.store.counts().parked, shop.store.get(job_id).parked) == ([], 0, None)

    shop.store.retry(job_id)
    assert shop.pop() == job_id


def test_a_parked_job_expires(shop: Shop) -> None:
    late = a_job(parked=WHY, deadline=datetime.now(UTC) - timedelta(seconds=1))
    shop.store.submit([late])

    assert shop.store.sweep().expired == (late.job_id,)
    assert shop.store.get(late.job_id).state is JobState.EXPIRED
    assert shop.store.parked() == []


def test_seconds_are_remembered_as_their_mean_and_spread(shop: Shop) -> None:
    expected = FIRST
    for seconds in (12.0, 12.5, 0.1 + 0.2, 30.0):
        shop.store.note_paces({"step|x": seconds, "vae|x": 1.0})
        expected = expected.with_sample(seconds)

    found = shop.store.paces()

    assert found["step|x"].count == 4
    assert found["step|x"].mean_s == pytest.approx(expected.mean_s, rel=1e-12)
    assert found["step|x"].variance_s2 == pytest.approx(expected.variance_s2, rel=1e-12)
    assert (found["vae|x"].mean_s, found["vae|x"].spread_s) == (1.0, 0.0)


def test_a_mean_follows_what_has_changed_in_every_store(shop: Shop) -> None:
    expected = FIRST
    for seconds in [30.0] * 60 + [10.0] * 60:
        shop.store.note_paces({"step|x": seconds})
        expected = expected.with_sample(seconds)

    assert shop.store.paces()["step|x"].mean_s == pytest.approx(expected.mean_s, rel=1e-9)


def test_the_kinds_of_jobs_that_nobody_renders_any_more_make_room(shop: Shop) -> None:
    for name in ("a", "b", "c"):
        shop.store.note_paces({name: 1.0})
        _tick(shop.store)
    shop.store.note_paces({"a": 2.0})
    _tick(shop.store)

    shop.store.note_paces({"d": 1.0})

    assert set(shop.store.paces()) == {"a", "c", "d"}


def test_nothing_noted_is_nothing_kept(shop: Shop) -> None:
    shop.store.note_paces({})

    assert shop.store.paces() == {}


def test_no_sample_of_many_workers_is_lost(shop: Shop) -> None:
    def note() -> None:
        for _ in range(25):
            shop.store.note_paces({"step|x": 2.0})

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert shop.store.paces()["step|x"].count == 100


def _tick(store: JobStore) -> None:
    """Until the store's clock has moved on by a millisecond: what it orders by."""
    began = store.ping()["now"]
    while store.ping()["now"] <= began:
        pass
