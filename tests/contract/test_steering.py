"""What every `JobStore` promises of orders about many jobs: end, pause, resume, move, remove."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from farm.history import paused_s
from farm.job import ErrorKind, JobState
from farm.store.base import Claim, Refused
from tests.support.jobs import QUEUE, a_result, an_error, claimed
from tests.support.shop import Shop
from tests.support.valkey import eventually

UNKNOWN = "0" * 32


def test_many_jobs_are_canceled_in_one_call_and_each_state_is_told(shop: Shop) -> None:
    waiting, running, done = (shop.submit() for _ in range(3))
    claimed(shop.store, running)
    shop.store.succeed(done, claimed(shop.store, done).attempt, a_result())

    states = shop.store.cancel_many([waiting, running, done, UNKNOWN], reason="not needed")

    assert states == {waiting: JobState.CANCELED, running: JobState.RUNNING, done: JobState.SUCCEEDED}
    assert shop.store.get(waiting).cancel_reason == "not needed"
    assert shop.store.get(running).cancel_requested
    assert shop.store.get(done).state is JobState.SUCCEEDED


def test_a_paused_job_is_not_given_to_a_worker_and_a_resumed_one_goes_first(shop: Shop) -> None:
    paused, other = shop.submit(), shop.submit()

    assert shop.store.pause([paused]) == {paused: JobState.QUEUED}
    assert shop.store.claim(paused, worker="w1") is Refused.PAUSED
    assert shop.store.get(paused).paused_at is not None
    assert [each.waiting for each in shop.store.counts().waiting] == [1]
    while shop.pop(QUEUE):
        pass

    assert shop.store.resume([paused]) == {paused: JobState.QUEUED}
    assert shop.pop(QUEUE) == paused
    assert shop.store.get(paused).paused_at is None
    claimed(shop.store, paused)
    assert shop.store.get(other).state is JobState.QUEUED


def test_events_of_a_job_tell_how_long_it_was_paused(shop: Shop) -> None:
    job_id = shop.submit()
    shop.store.pause([job_id])
    shop.store.resume([job_id])
    claimed(shop.store, job_id)

    _, paused, resumed, _ = shop.store.events(job_id)

    later = resumed.at + timedelta(seconds=1)
    assert paused_s(shop.store.events(job_id), until=later) == (resumed.at - paused.at).total_seconds()
    assert (paused.data["reason"], resumed.data["reason"]) == ("paused", "resumed")


def test_no_sweep_announces_a_paused_job(hasty: Shop) -> None:
    job_id = hasty.submit()
    while hasty.pop(QUEUE):
        pass
    hasty.store.pause([job_id])

    assert hasty.store.sweep().notifications == ()
    assert hasty.pop(QUEUE) is None


def test_several_are_resumed_in_the_order_in_which_they_are_named(shop: Shop) -> None:
    jobs = [shop.submit() for _ in range(3)]
    shop.store.pause(jobs)
    while shop.pop(QUEUE):
        pass

    shop.store.resume(jobs)

    assert [shop.pop(QUEUE) for _ in jobs] == jobs


def test_a_paused_job_still_expires(shop: Shop) -> None:
    job_id = shop.submit(deadline=datetime.now(UTC) + timedelta(seconds=0.2))
    shop.store.pause([job_id])

    eventually(lambda: shop.store.sweep().expired == (job_id,))

    assert shop.store.get(job_id).state is JobState.EXPIRED
    assert shop.store.get(job_id).paused_at is None


def test_a_retry_that_waits_and_was_paused_waits_on_when_it_is_resumed(shop: Shop) -> None:
    job_id = shop.submit()
    attempt = claimed(shop.store, job_id).attempt
    shop.store.fail(job_id, attempt, an_error(ErrorKind.TRANSIENT), retry_in_s=3600)
    shop.store.pause([job_id])
    while shop.pop(QUEUE):
        pass

    shop.store.resume([job_id])

    assert shop.pop(QUEUE) is None
    assert shop.store.claim(job_id, worker="w2") is Refused.NOT_YET


def test_a_job_that_runs_or_has_ended_is_not_paused(shop: Shop) -> None:
    running, done = shop.submit(), shop.submit()
    claimed(shop.store, running)
    shop.store.cancel(done)

    assert shop.store.pause([running, done]) == {running: JobState.RUNNING, done: JobState.CANCELED}
    assert [shop.store.get(each).paused_at for each in (running, done)] == [None, None]


def test_a_more_urgent_job_goes_before_those_that_were_first(shop: Shop) -> None:
    _first, late = shop.submit(), shop.submit()

    assert shop.store.prioritize([late], 0) == {late: JobState.QUEUED}

    assert shop.pop(QUEUE) == late
    assert shop.store.get(late).spec.priority == 0
    assert claimed(shop.store, late).spec.priority == 0


def test_a_job_that_was_made_less_urgent_is_not_run_by_its_older_message(shop: Shop) -> None:
    job_id = shop.submit()

    shop.store.prioritize([job_id], 9)

    assert shop.store.claim(job_id, worker="w1", priority=5) is Refused.MOVED
    assert isinstance(shop.store.claim(job_id, worker="w1", priority=9), Claim)


def test_a_job_keeps_its_new_priority_when_its_worker_gives_it_back(shop: Shop) -> None:
    job_id = shop.submit()
    shop.store.prioritize([job_id], 2)
    while shop.pop(QUEUE):
        pass
    attempt = claimed(shop.store, job_id).attempt

    shop.store.release(job_id, attempt, reason="drain")

    assert shop.store.get(job_id).spec.priority == 2
    assert shop.pop(QUEUE) == job_id


def test_a_job_that_has_ended_is_removed_with_its_key_and_one_that_has_not_stays(shop: Shop) -> None:
    done, waiting = shop.submit(idempotency_key="k", labels=("a",)), shop.submit()
    shop.store.succeed(done, claimed(shop.store, done).attempt, a_result())

    states = shop.store.remove([done, waiting, UNKNOWN])

    assert states == {done: JobState.SUCCEEDED, waiting: JobState.QUEUED}
    assert [job.job_id for job in shop.store.find().jobs] == [waiting]
    assert shop.store.find(label="a").jobs == ()
    assert shop.submit(idempotency_key="k") != done
    assert shop.store.removed() == [done]
    shop.store.files_are_gone(done)
    assert shop.store.removed() == []


def test_a_thousand_jobs_are_steered_in_their_order(shop: Shop) -> None:
    jobs = [shop.submit() for _ in range(1200)]

    assert set(shop.store.cancel_many(jobs).values()) == {JobState.CANCELED}
    assert len(shop.store.remove(jobs)) == 1200
    assert shop.store.find().jobs == ()


def test_ids_are_found_by_their_beginning_whatever_state_the_jobs_are_in(shop: Shop) -> None:
    jobs = [shop.submit() for _ in range(30)]
    shop.store.cancel_many(jobs[:10])
    for job_id in jobs[10:20]:
        claimed(shop.store, job_id)

    for job_id in jobs:
        assert shop.store.ids_beginning(job_id[:12], limit=3) == [job_id]
    assert len(shop.store.ids_beginning("", limit=7)) == 7
    assert shop.store.ids_beginning("zzzz", limit=3) == []
