"""Both forms of the job store, each with the ear of a worker: for what every store promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from farm.job import JobState, Progress
from farm.settings.redis import RedisSettings
from farm.store.base import Claim, StoreLimits
from farm.store.redis.store import connect
from farm.store.roles import JobStore
from farm.testing import MemoryJobStore, PlainNotifier
from tests.support.jobs import QUEUE, a_job
from tests.support.valkey import eventually

LONG = StoreLimits(lease_s=60, avoid_s=60)
SHORT = StoreLimits(lease_s=0.05, notify_again_after_s=0.05, avoid_s=0.15)


@dataclass(kw_only=True)
class Shop:
    """A store, and the ear of a worker: what it would pop from the queue."""

    store: JobStore
    pop: Callable[..., str | None]  # next job id of a queue, highest priority first

    def submit(self, **fields: Any) -> str:
        """Queue a job; its id."""
        return self.store.submit([a_job(**fields)])[0].job_id

    def running(self, worker: str = "w1", **fields: Any) -> str:
        """A job that a worker has claimed; its id."""
        job_id = self.submit(**fields)
        assert isinstance(self.store.claim(job_id, worker=worker), Claim)
        return job_id

    def lose(self, job_id: str, worker: str, *, phase: str) -> Claim:
        """Let a worker claim the job, come so far, and not be heard of until its lease is over."""
        claim = self.store.claim(job_id, worker=worker)
        assert isinstance(claim, Claim)
        self.store.report(job_id, claim.attempt, [], progress=Progress(phase=phase, fraction=0.5))
        self.sweep_until(lambda: self.state(job_id) is not JobState.RUNNING)
        return claim

    def state(self, job_id: str) -> JobState:
        """Where the job is."""
        return self.store.get(job_id).state

    def pop_all(self, queue: str = QUEUE) -> list[str]:
        """All messages of a queue, in the order in which workers get them."""
        return list(iter(lambda: self.pop(queue), None))

    def sweep_until(self, condition: Callable[[], object]) -> None:
        """Sweep as a steward does, until it had that effect."""

        def swept() -> object:
            self.store.sweep()
            return condition()

        eventually(swept)

    def notified_by_sweeps(self, count: int = 1) -> list[str]:
        """Sweep until so many messages lie in the queue; their jobs, first one first."""
        notified: list[str] = []

        def enough() -> bool:
            notified.extend(self.pop_all())
            return len(notified) >= count

        self.sweep_until(enough)
        return notified


Open = Callable[[StoreLimits], Shop]


@pytest.fixture(params=["memory", "redis"])
def open_shop(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens the form of store under test with the given limits."""
    if request.param == "memory":
        yield _memory_shop
        return
    url: str = request.getfixturevalue("valkey_url")
    namespace: str = request.getfixturevalue("namespace")
    settings = RedisSettings.read(url=SecretStr(url), namespace=namespace)
    notifier = PlainNotifier(f"{{{namespace}}}:q:")
    with redis.Redis.from_url(url) as client:

        def pop(queue: str) -> str | None:
            for priority in range(10):
                message = client.rpop(notifier.list_key(queue, priority))
                if isinstance(message, bytes):
                    return notifier.job_id_of(message)
            return None

        yield lambda limits: Shop(store=connect(settings, limits, notifier), pop=pop)


def _memory_shop(limits: StoreLimits) -> Shop:
    store = MemoryJobStore(limits)
    return Shop(store=store, pop=store.pop_notification)


@pytest.fixture
def shop(open_shop: Open) -> Shop:
    """A store in which nothing runs out during a test."""
    return open_shop(LONG)


@pytest.fixture
def lenient(open_shop: Open) -> Shop:
    """A store that keeps no job from the worker that failed it."""
    return open_shop(StoreLimits(lease_s=60, avoid_s=0))


@pytest.fixture
def hasty(open_shop: Open) -> Shop:
    """A store in which leases and waits run out at once."""
    return open_shop(SHORT)
