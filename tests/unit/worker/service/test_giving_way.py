"""A worker that is kept from a job lets an idle one fetch it, and waits for nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from farm.errors import StoreUnavailable
from farm.job import JobState, Progress
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerStatus
from farm.testing import MemoryJobStore
from tests.support.clock import Clock
from tests.support.jobs import a_job, an_error, claimed
from worker.service.giving_way import GivingWay

AT_MOST_S = 1.0 + 2.0 + 1.0  # until it is announced, until the steward looks, until it is claimed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryJobStore:
    return MemoryJobStore()


def a_failed_job(store: MemoryJobStore, worker: str = "mine") -> str:
    (job,) = store.submit([a_job(requirements={"vram_gib": 24})])
    claim = claimed(store, job.job_id, worker)
    store.fail(job.job_id, claim.attempt, an_error(), retry_in_s=0.0, token=claim.token)
    return job.job_id


def lives(store: MemoryJobStore, **said: Any) -> None:
    """Another worker lives, idle but for what it says."""
    store.put_worker(WorkerStatus(**{"name": "other", "vram_gib": 24, **said}), ttl_s=3600)


def waited_s(
    store: MemoryJobStore,
    job_id: str,
    clock: Clock,
    *,
    meanwhile: Callable[[], object] = lambda: None,
    leaves: Callable[[], bool] = lambda: False,
) -> float:
    """How long the worker gives way; `meanwhile` happens at each look."""
    return wait_s(giving_way(store, clock, meanwhile=meanwhile, leaves=leaves), job_id, clock)


def giving_way(
    store: MemoryJobStore,
    clock: Clock,
    *,
    meanwhile: Callable[[], object] = lambda: None,
    leaves: Callable[[], bool] = lambda: False,
) -> GivingWay:
    def sleep(seconds: float) -> None:
        clock.now += seconds
        meanwhile()

    return GivingWay("mine", store, sweep_s=2.0, leaves=leaves, sleep=sleep, clock=clock)


def wait_s(giving_way: GivingWay, job_id: str, clock: Clock) -> float:
    began = clock()
    giving_way.to_others(job_id)
    return clock() - began


def test_it_waits_for_an_idle_one_and_no_longer_than_that_needs(store: MemoryJobStore, clock: Clock) -> None:
    job_id = a_failed_job(store)
    lives(store)

    assert waited_s(store, job_id, clock) == pytest.approx(AT_MOST_S, abs=0.5)
    assert store.get(job_id).state is JobState.QUEUED


def test_it_goes_on_once_the_other_has_the_job(store: MemoryJobStore, clock: Clock) -> None:
    job_id = a_failed_job(store)
    lives(store)

    seconds = waited_s(store, job_id, clock, meanwhile=lambda: store.claim(job_id, worker="other"))

    assert store.get(job_id).state is JobState.RUNNING
    assert seconds < 1.0


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"name": "mine"}, id="itself"),
        pytest.param({"not_fetching": (NotFetching.COMFYUI_DOWN,)}, id="fetches nothing"),
        pytest.param({"jobs": {"job-1": Progress(phase="vae", fraction=0.5)}}, id="busy"),
        pytest.param({"vram_gib": 16}, id="too small"),
    ],
)
def test_who_cannot_take_the_job_now_is_not_waited_for(
    store: MemoryJobStore, clock: Clock, said: dict[str, Any]
) -> None:
    job_id = a_failed_job(store)
    lives(store, **said)

    assert waited_s(store, job_id, clock) == 0.0


def test_one_that_failed_the_job_too_is_not_waited_for(store: MemoryJobStore, clock: Clock) -> None:
    job_id = a_failed_job(store, worker="other")
    lives(store)

    assert waited_s(store, job_id, clock) == 0.0


def test_a_worker_that_leaves_does_not_wait(store: MemoryJobStore, clock: Clock) -> None:
    job_id = a_failed_job(store)
    lives(store)

    assert waited_s(store, job_id, clock, leaves=lambda: True) == 0.0


def test_nobody_waits_for_a_job_that_is_gone_or_while_redis_is_away(
    store: MemoryJobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives(store)
    assert waited_s(store, "job-1", clock) == 0.0

    def away(job_id: str) -> None:
        raise StoreUnavailable("redis", f"it is away: {job_id}")

    monkeypatch.setattr(store, "get", away)
    assert waited_s(store, "job-1", clock) == 0.0


def test_who_idled_and_did_not_take_the_job_is_not_waited_for_again_soon(
    store: MemoryJobStore, clock: Clock
) -> None:
    job_id = a_failed_job(store)
    lives(store)
    way = giving_way(store, clock)

    assert wait_s(way, job_id, clock) > 0.0
    assert wait_s(way, job_id, clock) == 0.0
    clock.now += 21.0
    assert wait_s(way, job_id, clock) > 0.0
