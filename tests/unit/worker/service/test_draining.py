"""A worker that is told to leave: what becomes of the jobs in its hands, and of one that came too late."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from farm.job import JobState, Progress
from farm.status.not_fetching import NotFetching
from farm.store.base import Drain
from farm.testing import MemoryJobStore
from tests.support.jobs import QUEUE, a_job, claimed
from tests.support.valkey import eventually
from worker.fetching.gate import Gate
from worker.jobs.at_work import AtWork
from worker.jobs.lease import Lease, LeaseKeeper
from worker.service.draining import Draining
from worker.service.epoch import EpochWatch
from worker.service.spot import Notice


class Desk:
    """One worker's parts, as far as draining goes, and a job in its hands."""

    def __init__(self) -> None:
        self.store = MemoryJobStore()
        self.gate = Gate(threads=1)
        self.gate.open(NotFetching.STARTING)
        self.keeper = LeaseKeeper(self.store, renew_s=60, lease_s=60)
        self.at_work = AtWork()
        self.news = threading.Event()
        self.draining = Draining(
            "gpu0@rack",
            self.store,
            self.gate,
            self.keeper,
            self.at_work,
            EpochWatch(self.store),
            on_change=self.news.set,
        )
        self._held = ExitStack()

    def take(self) -> Lease:
        (job,) = self.store.submit([a_job()])
        assert self.store.pop_notification(QUEUE, 5) == job.job_id
        claim = claimed(self.store, job.job_id, "gpu0@rack")
        return self._held.enter_context(self.keeper.hold(claim))

    def so_far(self, lease: Lease, *, fraction: float, eta_s: float) -> None:
        progress = Progress(phase="sample_low", fraction=fraction, step=1, steps=9, eta_s=eta_s)
        self._held.enter_context(self.at_work.on(lease.claim.job_id)).note(progress)

    def close(self) -> None:
        self._held.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def state(desk: Desk, lease: Lease) -> JobState:
    return desk.store.get(lease.claim.job_id).state


def test_a_job_that_does_not_fit_the_grace_is_given_back_at_once_and_announced(desk: Desk) -> None:
    lease = desk.take()
    desk.so_far(lease, fraction=0.1, eta_s=500.0)
    began = time.monotonic()

    desk.draining.end(grace_s=300.0)

    assert time.monotonic() - began < 100
    assert state(desk, lease) is JobState.QUEUED
    assert lease.stopped.is_set()
    assert desk.store.pop_notification(QUEUE, 5) == lease.claim.job_id


def test_a_second_request_waits_no_longer_for_a_job_that_would_have_fit(desk: Desk) -> None:
    lease = desk.take()
    desk.so_far(lease, fraction=0.9, eta_s=5.0)
    patient = threading.Thread(target=desk.draining.end, args=(600.0,), daemon=True)
    patient.start()
    eventually(lambda: desk.draining.takes_no_job)
    assert state(desk, lease) is JobState.RUNNING

    desk.draining.end(600.0)

    assert state(desk, lease) is JobState.QUEUED
    patient.join(60)
    assert not patient.is_alive()


def test_a_lease_that_was_asked_for_before_the_signal_is_waited_for_and_given_back(desk: Desk) -> None:
    with desk.keeper.claiming():
        draining = threading.Thread(target=desk.draining.end, args=(0.0,), daemon=True)
        draining.start()
        eventually(lambda: desk.draining.takes_no_job)
        lease = desk.take()

    draining.join(60)
    assert not draining.is_alive()
    assert state(desk, lease) is JobState.QUEUED


def test_an_order_is_obeyed_until_it_is_taken_back(desk: Desk) -> None:
    lease = desk.take()
    desk.store.set_drain("gpu0@rack", Drain.FINISH)
    desk.draining.obey()
    assert (desk.draining.ordered, desk.draining.takes_no_job) == (Drain.FINISH, True)
    assert state(desk, lease) is JobState.RUNNING

    desk.store.set_drain("gpu0@rack", Drain.NOW)
    desk.draining.obey()
    assert state(desk, lease) is JobState.QUEUED

    desk.store.set_drain("gpu0@rack", None)
    desk.draining.obey()
    assert (desk.draining.ordered, desk.draining.takes_no_job) == (None, False)
    assert desk.news.is_set()


def test_a_notice_of_the_cloud_takes_no_job_and_gives_back_what_does_not_fit(desk: Desk) -> None:
    lease = desk.take()
    desk.so_far(lease, fraction=0.1, eta_s=500.0)

    desk.draining.notice(Notice(source="aws", left_s=60.0))

    assert desk.draining.takes_no_job
    assert state(desk, lease) is JobState.QUEUED


def test_a_job_that_was_fetched_a_moment_too_late_is_announced_for_others_at_once(desk: Desk) -> None:
    (job,) = desk.store.submit([a_job()])
    assert desk.store.pop_notification(QUEUE, 5) == job.job_id

    desk.draining.pass_on(job.job_id)

    assert desk.store.pop_notification(QUEUE, 5) == job.job_id
    desk.draining.pass_on("0" * 32)  # one that is not there any more costs nothing


@pytest.mark.parametrize("before", [True, False])
def test_an_order_is_not_taken_back_by_a_store_that_forgets_it_while_it_is_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    desk.store.set_drain("gpu0@rack", Drain.FINISH)
    desk.draining.obey()
    read = desk.store.drain_of

    def forgetful(worker: str) -> Drain | None:
        told = None if before else read(worker)
        desk.store.lose_everything()
        return told

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "drain_of", forgetful)
        desk.draining.obey()
    desk.draining.obey()

    assert desk.draining.ordered is Drain.FINISH
    assert desk.store.drain_of("gpu0@rack") is Drain.FINISH
