"""The repairing loop: what it does, when it waits, and who of several does it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from farm.errors import StoreUnavailable
from farm.job import JobState
from farm.store.base import StoreLimits, Swept
from farm.testing import MemoryJobStore
from farm.upkeep.steward import Steward
from tests.support.jobs import a_job
from tests.support.valkey import eventually

SWEEP_S = 0.01


class FlakyStore(MemoryJobStore):
    """A store that can be out of reach, and counts its sweeps."""

    def __init__(self, limits: StoreLimits | None = None) -> None:
        super().__init__(limits)
        self.away = False
        self.broken = False
        self.uptime_s = 1_000_000
        self.sweeps = 0

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        self._check()
        return super().acquire(name, holder, ttl_s=ttl_s)

    def unlock(self, name: str, holder: str) -> None:
        self._check()
        super().unlock(name, holder)

    def sweep(self) -> Swept:
        self._check()
        self.sweeps += 1
        if self.broken:
            raise RuntimeError("a bug")
        return super().sweep()

    def ping(self) -> dict[str, Any]:
        self._check()
        return {**super().ping(), "uptime_s": self.uptime_s}

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("127.0.0.1:6379", "connection refused; nothing listens there")


Hire = Callable[..., Steward]


@pytest.fixture
def hire() -> Iterator[Hire]:
    """Starts stewards, and stops them when the test ends."""
    hired: list[Steward] = []

    def start(store: FlakyStore, holder: str = "a", *, grace_s: float = 0.0) -> Steward:
        steward = Steward(store, holder=holder, sweep_s=SWEEP_S, grace_s=grace_s)
        hired.append(steward)
        steward.start()
        return steward

    yield start
    for steward in hired:
        steward.stop()


def test_a_lost_job_waits_again_without_anybody_asking(hire: Hire) -> None:
    store = FlakyStore(StoreLimits(lease_s=0.02))
    job = a_job()
    store.submit([job])
    store.claim(job.job_id, worker="w1")
    store.pop_notification(job.queue)

    hire(store)

    eventually(lambda: store.notifications(job.queue) == [job.job_id])
    assert store.get(job.job_id).state is JobState.QUEUED


def test_of_two_stewards_one_sweeps_and_the_other_follows_it(hire: Hire) -> None:
    store = FlakyStore()
    first = hire(store, "a")
    eventually(lambda: store.sweeps > 0)
    hire(store, "b")

    assert not store.acquire("steward", "somebody else", ttl_s=1)
    first.stop()
    seen = store.sweeps

    eventually(lambda: store.sweeps > seen)
    assert store.acquire("steward", "b", ttl_s=1)


def test_the_lock_of_a_steward_that_died_ends_by_itself(hire: Hire) -> None:
    store = FlakyStore()
    assert store.acquire("steward", "killed before it could give it back", ttl_s=0.3)

    hire(store, "b")

    eventually(lambda: store.sweeps > 0)


def test_a_steward_that_slept_looks_at_the_age_of_the_store_before_it_takes_leases(hire: Hire) -> None:
    store = FlakyStore()
    steward = hire(store, grace_s=3600)
    eventually(lambda: store.sweeps > 0)

    with store._lock:  # the steward stands still in the midst of a turn
        # A turn later than its lock lasts means that it was not there to see an outage.
        steward._last_turn -= 10
        store.uptime_s = 1
    eventually(lambda: steward._grace_until > time.monotonic() + 1000)
    swept, turned = store.sweeps, steward._last_turn

    eventually(lambda: steward._last_turn > turned + 10 * SWEEP_S)
    assert store.sweeps == swept


def test_an_outage_is_survived_and_told_once(hire: Hire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="farm.upkeep.steward")
    store = FlakyStore()
    hire(store)
    eventually(lambda: store.sweeps > 0)

    store.away = True
    eventually(lambda: "store_away" in _events(caplog))
    store.away = False
    seen = store.sweeps

    eventually(lambda: store.sweeps > seen)
    assert _events(caplog) == ["store_away", "store_back"]


def test_after_an_outage_leases_are_left_alone_for_a_while(
    hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="farm.upkeep.steward")
    store = FlakyStore(StoreLimits(lease_s=0.02))
    store.away = True
    hire(store, grace_s=3600)
    eventually(lambda: "store_away" in _events(caplog))

    store.away = False

    eventually(lambda: "store_back" in _events(caplog))
    eventually(lambda: not store.acquire("steward", "other", ttl_s=1))  # it is elected, and waits
    assert store.sweeps == 0


def test_a_store_that_has_just_started_counts_as_an_outage(hire: Hire) -> None:
    fresh, old = FlakyStore(), FlakyStore()
    fresh.uptime_s, old.uptime_s = 1, 100

    hire(fresh, grace_s=60)
    hire(old, grace_s=60)

    eventually(lambda: old.sweeps > 3)
    assert fresh.sweeps == 0


def test_a_sweep_that_fails_does_not_end_the_loop(hire: Hire, caplog: pytest.LogCaptureFixture) -> None:
    store = FlakyStore()
    store.broken = True
    hire(store)

    eventually(lambda: store.sweeps > 2)

    assert "sweep_failed" in _events(caplog)


def test_a_steward_that_stops_gives_its_lock_back(hire: Hire) -> None:
    store = FlakyStore()
    steward = hire(store, "a")
    eventually(lambda: store.sweeps > 0)

    steward.stop()

    assert store.acquire("steward", "b", ttl_s=1)


def test_stopping_works_while_the_store_is_away(hire: Hire) -> None:
    store = FlakyStore()
    steward = hire(store)
    store.away = True

    steward.stop()

    assert "steward" not in [thread.name for thread in threading.enumerate()]


def _events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["event"] for record in caplog.records if record.name == "farm.upkeep.steward"]
