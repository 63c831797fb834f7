"""One bad worker does not eat the jobs of the farm, and a bad job does not take its workers along."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from comfy.errors import RunFailed
from farm.job import ErrorKind, JobState
from farm.settings.redis import RedisSettings
from farm.status.not_fetching import NotFetching
from farm.store.base import Claim, StoreLimits
from farm.store.redis.store import RedisJobStore, connect
from farm.testing import FolderStorage, PlainNotifier
from tests.support.jobs import QUEUE, a_job
from tests.support.station import Station, Stations
from tests.support.valkey import eventually


class Queue:
    """A real Valkey with jobs in it, and the workers' side of it."""

    def __init__(self, url: str, namespace: str) -> None:
        notifier = PlainNotifier(f"{{{namespace}}}:q:")
        settings = RedisSettings.read(url=SecretStr(url), namespace=namespace)
        limits = StoreLimits(avoid_s=1.0, notify_again_after_s=1.0)
        self.store: RedisJobStore = connect(settings, limits, notifier)
        self._client = redis.Redis.from_url(url)
        self._list = notifier.list_key(QUEUE, 5)

    def pop(self) -> str | None:
        message = self._client.rpop(self._list)
        return PlainNotifier.job_id_of(message) if isinstance(message, bytes) else None

    def submit(self, count: int, **fields: Any) -> list[str]:
        return [each.job_id for each in self.store.submit([a_job(**fields) for _ in range(count)])]

    def all_end(self, jobs: list[str]) -> None:
        def ended() -> bool:
            self.store.sweep()
            return all(self.store.get(job_id).state.final for job_id in jobs)

        eventually(ended)

    def states(self, jobs: list[str]) -> set[JobState]:
        return {self.store.get(job_id).state for job_id in jobs}

    def close(self) -> None:
        self._client.close()
        self.store.close()


@pytest.fixture
def queue(valkey_url: str, namespace: str) -> Iterator[Queue]:
    made = Queue(valkey_url, namespace)
    yield made
    made.close()


@pytest.fixture
def worker(queue: Queue, stations: Stations, tmp_path: Path) -> Callable[[str], Station]:
    def make(name: str) -> Station:
        made = stations(name, tmp_path / name, queue.store, FolderStorage(tmp_path / "s3"))
        made.tell_status()
        return made

    return make


def fails(exception_type: str = "ImportError", *, node_type: str = "KSampler") -> Callable[[Claim], None]:
    """As a node does whose library is not there."""

    def fail(claim: Claim) -> None:
        raise RunFailed(
            prompt_id=claim.token,
            exception_type=exception_type,
            exception_message=f"in attempt {claim.token}",
            node_id="3",
            node_type=node_type,
        )

    return fail


def renders_in(seconds: float) -> Callable[[Claim], None]:
    return lambda _claim: time.sleep(seconds)


@pytest.mark.parametrize("exception_type", ["ImportError", "OSError", "RuntimeError"])
def test_a_worker_on_which_every_node_fails_costs_no_job_and_stops_fetching(
    queue: Queue, worker: Callable[[str], Station], exception_type: str
) -> None:
    bad, good = worker("bad"), worker("good")
    bad.before_render, good.before_render = fails(exception_type), renders_in(0.02)
    bad.trouble = "the canary did not come through"
    jobs = queue.submit(30, max_attempts=1 if exception_type != "OSError" else 3)

    for each in (bad, good):
        each.consume(queue.pop)
    queue.all_end(jobs)

    assert queue.states(jobs) == {JobState.SUCCEEDED}
    assert len(bad.renders) <= 6
    eventually(lambda: NotFetching.QUARANTINE in bad.gate.closed_for)
    assert bad.health.quarantine.failure is not None
    assert good.gate.closed_for == frozenset()


def test_a_worker_that_fails_where_others_do_well_says_why_and_comes_back_when_its_canary_does(
    queue: Queue, worker: Callable[[str], Station]
) -> None:
    bad, good = worker("bad"), worker("good")
    bad.before_render, good.before_render = fails(), renders_in(0.02)
    bad.trouble = "the canary did not come through"
    jobs = queue.submit(12)
    for each in (bad, good):
        each.consume(queue.pop)
    queue.all_end(jobs)
    eventually(lambda: NotFetching.QUARANTINE in bad.gate.closed_for)

    status = next(each for each in queue.store.workers() if each.name == "bad")
    assert status.quarantine is not None
    assert status.quarantine.code == "fails_here"
    bad.before_render, bad.trouble = renders_in(0.0), None
    eventually(lambda: NotFetching.QUARANTINE not in bad.gate.closed_for)
    queue.all_end(queue.submit(4))


def test_a_batch_of_bad_jobs_runs_on_two_workers_at_most_and_leaves_both_in_service(
    queue: Queue, worker: Callable[[str], Station]
) -> None:
    workers = [worker(name) for name in ("w1", "w2", "w3")]
    for each in workers:
        each.before_render = fails("ValueError")
    jobs = queue.submit(12)

    for each in workers:
        each.consume(queue.pop)
    queue.all_end(jobs)

    assert queue.states(jobs) == {JobState.FAILED}
    for job_id in jobs:
        record = queue.store.get(job_id)
        assert len({note.worker for note in record.attempts}) == len(record.attempts) == 2
        assert record.error is not None
        assert record.error.kind is ErrorKind.JOB
    for each in workers:
        eventually(lambda each=each: each.gate.closed_for == frozenset())  # type: ignore[misc]


def test_on_a_fleet_of_one_worker_every_bad_job_fails_at_its_first_attempt_and_the_next_is_fetched(
    queue: Queue, worker: Callable[[str], Station]
) -> None:
    only = worker("only")
    only.before_render = fails()
    jobs = queue.submit(10)

    only.consume(queue.pop)
    queue.all_end(jobs)

    assert queue.states(jobs) == {JobState.FAILED}
    assert sorted(only.renders) == sorted(jobs)
    assert only.gate.closed_for == frozenset()
