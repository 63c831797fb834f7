"""Keeping leases: renewed while held, and what the store says is passed on at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

import pytest

from farm.errors import StoreUnavailable
from farm.store.base import Claim, LeaseAnswer
from farm.store.roles import JobStore
from tests.support.jobs import a_claim
from tests.support.valkey import eventually
from worker.jobs.lease import Lease, LeaseKeeper


def claim_of(token: str = "a token") -> Claim:
    return replace(a_claim({}), job_id="job00001", token=token)


class RenewingStore:
    """Answers renewals with what the test says."""

    def __init__(self) -> None:
        self.answer: LeaseAnswer | Exception = LeaseAnswer.OK
        self.renewed: list[str] = []

    def renew(self, job_id: str, attempt: int, *, token: str) -> LeaseAnswer:
        self.renewed.append(token)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def store() -> RenewingStore:
    return RenewingStore()


@pytest.fixture
def keeper(store: RenewingStore) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(cast("JobStore", store), renew_s=0.02, lease_s=0.2)
    keeper.start()
    yield keeper
    keeper.stop()


def test_a_lease_whose_grant_was_heard_of_too_late_is_not_taken_for_ours() -> None:
    late = Lease(claim_of(), lease_s=15.0, asked_at=time.monotonic() - 16.0)  # frozen while it was granted

    assert not late.provable
    assert Lease(claim_of(), lease_s=15.0, asked_at=time.monotonic() - 1.0).provable


def test_a_held_lease_is_renewed_again_and_again(keeper: LeaseKeeper, store: RenewingStore) -> None:
    with keeper.hold(claim_of()):
        eventually(lambda: len(store.renewed) >= 3)


def test_a_lease_that_ended_is_renewed_no_more(keeper: LeaseKeeper, store: RenewingStore) -> None:
    with keeper.hold(claim_of()):
        eventually(lambda: bool(store.renewed))

    assert keeper.leases() == []


def test_the_lease_of_a_newer_claim_outlives_the_thread_of_an_older_one(
    keeper: LeaseKeeper, store: RenewingStore
) -> None:
    with ExitStack() as older, keeper.hold(claim_of("newer")) as newer:
        older.enter_context(keeper.hold(claim_of("older")))
        older.close()
        renewed = len(store.renewed)

        assert keeper.leases() == [newer]
        eventually(lambda: "newer" in store.renewed[renewed:])


@pytest.mark.parametrize("answer", [LeaseAnswer.LOST, LeaseAnswer.CANCELED])
def test_a_lost_or_canceled_lease_stops_the_work(
    keeper: LeaseKeeper, store: RenewingStore, answer: LeaseAnswer
) -> None:
    store.answer = answer

    with keeper.hold(claim_of()) as lease:
        assert lease.stopped.wait(60.0)

    assert lease.answer is answer


def test_of_many_leases_one_asks_whether_redis_is_back_and_then_all_are_renewed(
    keeper: LeaseKeeper, store: RenewingStore
) -> None:
    store.answer = StoreUnavailable("here", "refused")
    tokens = ["one", "two", "three"]

    with ExitStack() as held:
        for token in tokens:
            held.enter_context(keeper.hold(claim_of(token)))
        eventually(lambda: len(store.renewed) >= 5)
        # The first round may have found fewer of them.
        asked = store.renewed[1:]
        store.answer = LeaseAnswer.OK
        eventually(lambda: set(store.renewed[len(asked) + 1 :]) >= set(tokens))

    assert set(asked) == {"one"}


def test_the_work_goes_on_while_redis_is_away(keeper: LeaseKeeper, store: RenewingStore) -> None:
    store.answer = StoreUnavailable("here", "refused")

    with keeper.hold(claim_of()) as lease:
        eventually(lambda: not lease.provable)

        assert not lease.stopped.is_set()
        store.answer = LeaseAnswer.OK
        eventually(lambda: lease.provable)


def test_nothing_is_begun_while_the_job_may_be_somebody_elses(
    keeper: LeaseKeeper, store: RenewingStore
) -> None:
    store.answer = StoreUnavailable("here", "refused")
    with keeper.hold(claim_of()) as lease:
        eventually(lambda: not lease.provable)
        begun = threading.Thread(target=lease.prove)
        begun.start()

        begun.join(timeout=0.2)
        assert begun.is_alive()
        store.answer = LeaseAnswer.OK
        begun.join(timeout=60.0)
        assert not begun.is_alive()


def test_who_waits_for_proof_is_told_that_the_job_is_lost(keeper: LeaseKeeper, store: RenewingStore) -> None:
    store.answer = StoreUnavailable("here", "refused")
    with keeper.hold(claim_of()) as lease:
        eventually(lambda: not lease.provable)
        store.answer = LeaseAnswer.LOST

        lease.prove()

        assert lease.stopped.is_set()


def test_a_surprise_in_one_renewal_does_not_end_the_others(keeper: LeaseKeeper, store: RenewingStore) -> None:
    store.answer = ValueError("a bug")

    with keeper.hold(claim_of()):
        eventually(lambda: len(store.renewed) >= 2)


def test_a_cancel_that_is_heard_of_is_asked_for_at_once(store: RenewingStore) -> None:
    keeper = LeaseKeeper(cast("JobStore", store), renew_s=3600.0, lease_s=3600.0)
    keeper.start()
    try:
        with keeper.hold(claim_of()) as lease:
            store.answer = LeaseAnswer.CANCELED
            keeper.renew_now()

            assert lease.stopped.wait(60.0)
    finally:
        keeper.stop()


def test_a_released_lease_stops_the_work_and_says_why() -> None:
    lease = Lease(claim_of(), lease_s=1.0)

    lease.release()

    assert lease.released
    assert lease.stopped.is_set()
