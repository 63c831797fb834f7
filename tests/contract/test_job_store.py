"""What every `JobStore` promises, whatever keeps it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from farm.asking.selection import Selection, looks, select
from farm.errors import IdempotencyConflict, IllegalMove, JobForgotten, JobNotFound
from farm.job import PUBLISHING, ErrorKind, EventKind, JobState, Progress, new_job_id
from farm.status.not_fetching import NotFetching
from farm.status.worker import GpuStatus, WorkerStatus
from farm.store.base import (
    Claim,
    Drain,
    LeaseAnswer,
    NewEvent,
    NewJob,
    Notification,
    Queued,
    Refused,
    StoreLimits,
)
from farm.store.follow import ends, follow
from farm.store.roles import JobStore
from tests.support.jobs import QUEUE, a_job, a_result, an_error, claimed
from tests.support.shop import LONG, Open, Shop
from tests.support.valkey import eventually

# -- submit ----------------------------------------------------------------------------------------


def test_a_submitted_job_waits_with_its_whole_spec(shop: Shop) -> None:
    job = a_job(title="Fox", priority=2, labels=["a"], parameters={"9.filename_prefix": "b"}, max_attempts=5)

    submitted = shop.store.submit([job])

    record = shop.store.get(job.job_id)
    assert [(done.job_id, done.created) for done in submitted] == [(job.job_id, True)]
    assert (record.state, record.spec, record.queue) == (JobState.QUEUED, job.spec, QUEUE)
    assert (record.attempt, record.attempts, record.worker) == (0, (), None)
    assert abs(record.submitted_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_job_and_its_notification_are_stored_together(shop: Shop) -> None:
    job_id = shop.submit()

    assert shop.pop_all() == [job_id]


def test_jobs_of_a_batch_are_announced_in_their_order_and_priority_first(shop: Shop) -> None:
    jobs = [a_job(priority=priority) for priority in (5, 9, 5, 0)]

    shop.store.submit(jobs)

    assert shop.pop_all() == [jobs[at].job_id for at in (3, 0, 2, 1)]


def test_a_batch_larger_than_one_round_trip_keeps_its_order(shop: Shop) -> None:
    jobs = [a_job() for _ in range(1100)]

    shop.store.submit(jobs)

    assert shop.pop_all() == [job.job_id for job in jobs]


def test_submission_times_never_repeat(shop: Shop) -> None:
    shop.store.submit([a_job() for _ in range(50)])

    times = [record.submitted_at for record in shop.store.find().jobs]

    assert all(newer > older for newer, older in pairwise(times))


def test_the_same_job_sent_twice_is_stored_and_announced_once(shop: Shop) -> None:
    job = a_job()

    first, second = shop.store.submit([job]), shop.store.submit([job])

    assert (first[0].created, second[0].created) == (True, False)
    assert shop.pop_all() == [job.job_id]


def test_the_same_idempotency_key_gives_the_same_job(shop: Shop) -> None:
    job_id = shop.submit(idempotency_key="order 7 / clip 3", title="one")

    again = shop.store.submit([a_job(idempotency_key="order 7 / clip 3", title="one")])

    assert (again[0].job_id, again[0].created) == (job_id, False)
    assert shop.pop_all() == [job_id]


def test_a_key_of_another_job_is_a_conflict_and_the_rest_of_the_batch_is_stored(shop: Shop) -> None:
    job_id = shop.submit(idempotency_key="k", max_attempts=1)
    before, other, after = a_job(), a_job(idempotency_key="k", max_attempts=2), a_job()

    with pytest.raises(IdempotencyConflict, match=job_id):
        shop.store.submit([before, other, after])

    assert shop.pop_all() == [job_id, before.job_id, after.job_id]
    with pytest.raises(JobNotFound):
        shop.store.get(other.job_id)


def test_the_order_of_a_graphs_nodes_does_not_make_another_job(shop: Shop) -> None:
    one = {"1": {"class_type": "A", "inputs": {}}, "2": {"class_type": "B", "inputs": {"x": 1, "y": 2}}}
    other = {"2": {"class_type": "B", "inputs": {"y": 2, "x": 1}}, "1": {"class_type": "A", "inputs": {}}}
    job_id = shop.submit(idempotency_key="k", graph=one)

    assert shop.submit(idempotency_key="k", graph=other) == job_id


def test_twenty_threads_with_one_key_make_one_job(shop: Shop) -> None:
    jobs = [a_job(idempotency_key="k") for _ in range(20)]
    gate = threading.Barrier(20)

    def submit(at: int) -> str:
        gate.wait()
        return shop.store.submit([jobs[at]])[0].job_id

    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(submit, range(20)))

    assert len(ids) == 1
    assert shop.pop_all() == list(ids)


def test_strange_characters_survive(shop: Shop) -> None:
    title = 'Füchse 🦊 "quoted" \\ back/slash\n'
    job_id = shop.running(worker='ein "Arbeiter"/ö', title=title, labels=["a/b:c@d"], idempotency_key="🦊 %s")

    shop.store.release(job_id, 1, reason='über "alles" \\')

    record = shop.store.get(job_id)
    assert (record.spec.title, record.attempts[0].worker) == (title, 'ein "Arbeiter"/ö')
    assert shop.store.events(job_id)[-1].data["reason"] == 'über "alles" \\'


# -- claim and lease -------------------------------------------------------------------------------


def test_a_claim_gives_the_next_attempt_with_a_lease(shop: Shop) -> None:
    job = a_job()
    shop.store.submit([job])

    claim = shop.store.claim(job.job_id, worker="w1")

    record = shop.store.get(job.job_id)
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.spec, claim.submitted_at) == (1, job.spec, record.submitted_at)
    assert claim.lease_until - claim.claimed_at == timedelta(seconds=LONG.lease_s)
    assert (record.state, record.worker, record.attempt) == (JobState.RUNNING, "w1", 1)
    assert (record.claimed_at, record.started_at, record.lease_until) == (
        claim.claimed_at,
        claim.claimed_at,
        claim.lease_until,
    )


def test_what_is_not_waiting_cannot_be_claimed(shop: Shop) -> None:
    running = shop.running()
    done = shop.running()
    shop.store.succeed(done, 1, a_result())

    assert shop.store.claim(running, worker="w1") is Refused.NOT_QUEUED
    assert shop.store.claim(running, worker="w2") is Refused.NOT_QUEUED
    assert shop.store.claim(done, worker="w2") is Refused.NOT_QUEUED
    assert shop.store.claim(new_job_id(), worker="w2") is Refused.UNKNOWN


def test_of_twenty_claimers_one_wins(shop: Shop) -> None:
    job_id = shop.submit()
    gate = threading.Barrier(20)

    def claim(worker: int) -> object:
        gate.wait()
        return shop.store.claim(job_id, worker=f"w{worker}")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(claim, range(20)))

    assert sum(isinstance(answer, Claim) for answer in answers) == 1
    assert answers.count(Refused.NOT_QUEUED) == 19


def test_renewing_prolongs_the_lease(shop: Shop) -> None:
    job_id = shop.running()
    first = shop.store.get(job_id).lease_until
    assert first is not None

    def later() -> bool:
        assert shop.store.renew(job_id, 1) is LeaseAnswer.OK
        now = shop.store.get(job_id).lease_until
        return now is not None and now > first

    eventually(later)


def test_a_lease_that_ran_out_lets_another_worker_go_on(hasty: Shop) -> None:
    job_id = hasty.running("w1")
    hasty.pop_all()

    hasty.sweep_until(lambda: hasty.state(job_id) is JobState.QUEUED)

    record = hasty.store.get(job_id)
    assert hasty.pop_all() == [job_id]
    assert (record.attempts_lost, record.attempts_failed, record.lease_until) == (1, 0, None)
    (note,) = record.attempts
    assert (note.attempt, note.worker, note.outcome) == (1, "w1", "lost")
    assert note.heard_at is not None
    assert note.started_at <= note.heard_at < note.ended_at
    assert record.error is not None
    assert record.error.code == "lease_lost"
    second = claimed(hasty.store, job_id, "w2")
    assert second.attempt == 2


def test_a_lost_job_goes_before_those_that_came_after_it(hasty: Shop) -> None:
    lost = hasty.running()
    hasty.pop_all()
    younger = hasty.submit()

    hasty.sweep_until(lambda: hasty.state(lost) is JobState.QUEUED)

    assert hasty.pop_all() == [lost, younger]


def test_a_zombie_can_write_nothing(hasty: Shop) -> None:
    job_id = hasty.running("zombie")
    hasty.sweep_until(lambda: hasty.state(job_id) is JobState.QUEUED)

    def everything_is_refused() -> None:
        store = hasty.store
        assert store.renew(job_id, 1) is LeaseAnswer.LOST
        assert store.report(job_id, 1, [NewEvent(kind=EventKind.LOG, data={})]) is LeaseAnswer.LOST
        assert store.succeed(job_id, 1, a_result("zombie")) is LeaseAnswer.LOST
        assert store.fail(job_id, 1, an_error(), retry_in_s=0) is LeaseAnswer.LOST
        assert store.release(job_id, 1, reason="") is LeaseAnswer.LOST
        assert store.end_canceled(job_id, 1) is LeaseAnswer.LOST

    everything_is_refused()  # while it waits
    hasty.store.claim(job_id, worker="w2")
    everything_is_refused()  # while another one runs it
    assert hasty.store.succeed(job_id, 2, a_result("second")) is LeaseAnswer.OK
    everything_is_refused()  # when it has ended
    assert hasty.store.get(job_id).result == a_result("second")


def test_writes_to_an_unknown_job_are_lost(shop: Shop) -> None:
    nobody = new_job_id()

    assert shop.store.renew(nobody, 1) is LeaseAnswer.LOST
    assert shop.store.report(nobody, 1, []) is LeaseAnswer.LOST
    assert shop.store.succeed(nobody, 1, a_result()) is LeaseAnswer.LOST
    assert shop.store.fail(nobody, 1, an_error(), retry_in_s=None) is LeaseAnswer.LOST
    assert shop.store.release(nobody, 1, reason="") is LeaseAnswer.LOST
    assert shop.store.end_canceled(nobody, 1) is LeaseAnswer.LOST


def test_a_job_that_loses_three_workers_is_poison_with_all_evidence(hasty: Shop) -> None:
    job_id = hasty.submit()
    for number in (1, 2, 3):
        claimed(hasty.store, job_id, f"w{number}")
        hasty.sweep_until(lambda: hasty.state(job_id) is not JobState.RUNNING)

    record = hasty.store.get(job_id)
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.kind is ErrorKind.POISON
    assert record.error.details == {"workers": ["w1", "w2", "w3"]}
    assert "w3" in record.error.message
    assert [(note.attempt, note.outcome) for note in record.attempts] == [
        (1, "lost"),
        (2, "lost"),
        (3, "lost"),
    ]


def test_a_job_that_was_only_published_where_workers_died_is_not_poison_by_it(hasty: Shop) -> None:
    job_id = hasty.submit()
    for number in range(4):
        hasty.lose(job_id, f"p{number}", phase=PUBLISHING)
    for number in range(2):
        hasty.lose(job_id, f"w{number}", phase="sample_high")

    waiting = hasty.store.get(job_id)
    assert (waiting.state, waiting.attempts_lost) == (JobState.QUEUED, 6)
    assert [note.error and note.error.details for note in waiting.attempts] == [{"phase": PUBLISHING}] * 4 + [
        {},
        {},
    ]

    hasty.lose(job_id, "w2", phase="vae")
    record = hasty.store.get(job_id)
    assert (record.state, record.error and record.error.kind) == (JobState.FAILED, ErrorKind.POISON)
    assert record.error is not None
    assert record.error.details == {"workers": ["w0", "w1", "w2"]}
    assert record.error.message.startswith("3 workers were lost while they ran this job")


def test_a_job_whose_files_kill_each_worker_that_publishes_them_ends(hasty: Shop) -> None:
    job_id = hasty.submit()
    hasty.lose(job_id, "w0", phase="vae")
    for number in range(5):
        hasty.lose(job_id, f"p{number}", phase=PUBLISHING)

    record = hasty.store.get(job_id)
    assert (record.state, record.error and record.error.kind) == (JobState.FAILED, ErrorKind.POISON)
    assert record.error is not None
    assert record.error.details == {"workers": [f"p{number}" for number in range(5)]}
    assert record.error.message.startswith("5 workers were lost while they published the files of this job")


@pytest.mark.parametrize("phase", ["sample_high", PUBLISHING])
def test_the_loss_of_a_worker_that_lives_is_no_loss_of_a_worker(hasty: Shop, phase: str) -> None:
    job_id = hasty.submit()

    for _ in range(6):  # more than make it poison
        lost = hasty.lose(job_id, "w1", phase=phase)
        # It was cut off, or frozen, and goes on.
        assert hasty.store.renew(job_id, lost.attempt, token=lost.token) is LeaseAnswer.LOST

    record = hasty.store.get(job_id)
    assert (record.state, record.attempts_lost) == (JobState.QUEUED, 6)


def test_a_job_that_is_taken_from_worker_after_worker_ends_although_they_live(hasty: Shop) -> None:
    limits = StoreLimits()
    job_id = hasty.submit()

    for _ in range(limits.max_lost_attempts + limits.max_lost_publishing - 1):
        lost = hasty.lose(job_id, "w1", phase="vae")
        hasty.store.renew(job_id, lost.attempt, token=lost.token)
    assert hasty.state(job_id) is JobState.QUEUED
    hasty.lose(job_id, "w2", phase="vae")

    error = hasty.store.get(job_id).error
    assert hasty.state(job_id) is JobState.FAILED
    assert error is not None
    assert (error.kind, error.code, error.details["workers"]) == (ErrorKind.POISON, "workers_lost", ["w2"])


def test_a_retry_forgets_the_workers_that_were_lost(hasty: Shop) -> None:
    job_id = hasty.submit()
    for number in range(5):
        hasty.lose(job_id, f"p{number}", phase=PUBLISHING)
    hasty.store.retry(job_id)

    hasty.lose(job_id, "w0", phase=PUBLISHING)

    assert hasty.state(job_id) is JobState.QUEUED


# -- how an attempt ends ---------------------------------------------------------------------------


def test_a_result_is_accepted_once_and_the_same_write_is_answered_twice(shop: Shop) -> None:
    job_id = shop.running()

    answers = [shop.store.succeed(job_id, 1, a_result()), shop.store.succeed(job_id, 1, a_result())]

    record = shop.store.get(job_id)
    assert answers == [LeaseAnswer.OK, LeaseAnswer.OK]
    assert (record.state, record.result, record.error) == (JobState.SUCCEEDED, a_result(), None)
    assert (record.lease_until, record.finished_at is not None) == (None, True)
    assert [note.outcome for note in record.attempts] == ["succeeded"]
    assert [event.data["state"] for event in shop.store.events(job_id)] == ["queued", "running", "succeeded"]


def test_a_job_carries_the_report_of_the_attempt_that_failed_last_until_one_succeeds(lenient: Shop) -> None:
    job_id = lenient.running("w1")

    lenient.store.fail(job_id, 1, an_error(), retry_in_s=0, report={"version": 1, "findings": []})
    after_failure = lenient.store.get(job_id).report
    claim = claimed(lenient.store, job_id, "w2")
    lenient.store.succeed(job_id, 2, a_result(), token=claim.token)

    assert after_failure == {"version": 1, "findings": []}
    assert lenient.store.get(job_id).report is None


def test_a_transient_failure_waits_for_its_time_and_is_announced_again(lenient: Shop) -> None:
    job_id = lenient.running("w1")
    lenient.pop_all()

    state = lenient.store.fail(job_id, 1, an_error(), retry_in_s=1.0)

    record = lenient.store.get(job_id)
    assert state is JobState.QUEUED
    assert (record.attempts_failed, record.error) == (1, an_error())
    assert record.not_before is not None
    assert record.attempts[0].again_at == record.not_before
    assert record.attempts[0].kept_until is not None
    assert lenient.store.claim(job_id, worker="w2") is Refused.NOT_YET
    assert lenient.pop_all() == []
    lenient.sweep_until(lambda: lenient.store.get(job_id).not_before is None)
    assert lenient.pop_all() == [job_id]
    assert isinstance(lenient.store.claim(job_id, worker="w2"), Claim)


def test_a_retry_without_delay_is_announced_at_once_at_the_front(shop: Shop) -> None:
    job_id = shop.running("w1")
    shop.pop_all()
    younger = shop.submit()

    shop.store.fail(job_id, 1, an_error(), retry_in_s=0)

    assert shop.pop_all() == [job_id, younger]


def test_a_job_is_kept_from_the_worker_that_failed_it_for_a_while(hasty: Shop) -> None:
    job_id = hasty.running("w1")
    hasty.store.fail(job_id, 1, an_error(), retry_in_s=0)

    assert hasty.store.claim(job_id, worker="w1") is Refused.NOT_HERE

    eventually(lambda: isinstance(hasty.store.claim(job_id, worker="w1"), Claim))


def test_a_job_that_was_refused_to_one_worker_is_announced_for_the_others(hasty: Shop) -> None:
    job_id = hasty.running("w1")
    hasty.store.fail(job_id, 1, an_error(), retry_in_s=0)
    hasty.pop_all()
    assert hasty.store.claim(job_id, worker="w1") is Refused.NOT_HERE

    assert hasty.notified_by_sweeps() == [job_id]
    assert isinstance(hasty.store.claim(job_id, worker="w2"), Claim)


def test_the_last_allowed_failure_is_final(lenient: Shop) -> None:
    job_id = lenient.submit(max_attempts=2)
    lenient.store.claim(job_id, worker="w1")
    assert lenient.store.fail(job_id, 1, an_error(), retry_in_s=0) is JobState.QUEUED
    lenient.store.claim(job_id, worker="w1")

    assert lenient.store.fail(job_id, 2, an_error(message="again"), retry_in_s=0) is JobState.FAILED

    record = lenient.store.get(job_id)
    assert record.error == an_error(message="again")
    assert [note.error for note in record.attempts] == [an_error(), an_error(message="again")]


def test_a_failure_without_retry_is_final_and_answered_the_same_twice(shop: Shop) -> None:
    job_id = shop.running()

    answers = [shop.store.fail(job_id, 1, an_error(ErrorKind.JOB), retry_in_s=None) for _ in range(2)]

    assert answers == [JobState.FAILED, JobState.FAILED]
    assert shop.store.get(job_id).attempts_failed == 1


def test_a_repeated_failure_after_the_next_claim_does_not_touch_the_new_attempt(shop: Shop) -> None:
    job_id = shop.running("w1")
    shop.store.fail(job_id, 1, an_error(), retry_in_s=0)
    shop.store.claim(job_id, worker="w2")

    assert shop.store.fail(job_id, 1, an_error(), retry_in_s=0) is JobState.QUEUED

    record = shop.store.get(job_id)
    assert (record.state, record.attempt, record.attempts_failed) == (JobState.RUNNING, 2, 1)


def test_a_machines_fault_is_not_counted_against_the_job(lenient: Shop) -> None:
    job_id = lenient.submit(max_attempts=1)

    for attempt in (1, 2):
        lenient.store.claim(job_id, worker="w1")
        state = lenient.store.fail(job_id, attempt, an_error(ErrorKind.MACHINE), retry_in_s=0)
        assert state is JobState.QUEUED

    assert lenient.store.get(job_id).attempts_failed == 0


def test_a_job_on_which_machine_after_machine_fails_is_poison(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, avoid_s=0, max_machine_failures=2))
    job_id = shop.submit(max_attempts=5)

    states = []
    for attempt, worker in ((1, "w1"), (2, "w2")):
        shop.store.claim(job_id, worker=worker)
        states.append(shop.store.fail(job_id, attempt, an_error(ErrorKind.MACHINE), retry_in_s=0))

    record = shop.store.get(job_id)
    assert states == [JobState.QUEUED, JobState.FAILED]
    assert record.error is not None
    assert (record.error.kind, record.error.code) == (ErrorKind.POISON, "machines_failed")
    assert record.error.details == {"workers": ["w1", "w2"]}
    assert record.attempts_failed == 0
    shop.store.retry(job_id)
    shop.store.claim(job_id, worker="w3")
    assert shop.store.fail(job_id, 3, an_error(ErrorKind.MACHINE), retry_in_s=0) is JobState.QUEUED


def test_a_job_that_a_worker_has_no_model_for_goes_to_the_others_and_nothing_is_counted(shop: Shop) -> None:
    live(shop, "w1", "w2", "w3")
    job_id = shop.submit(max_attempts=1)

    for attempt, worker in ((1, "w1"), (2, "w2")):
        shop.store.claim(job_id, worker=worker)
        state = shop.store.fail(job_id, attempt, an_error(ErrorKind.UNSUITABLE), retry_in_s=0)
        assert state is JobState.QUEUED
        assert shop.store.claim(job_id, worker=worker) is Refused.NOT_HERE

    assert isinstance(shop.store.claim(job_id, worker="w3"), Claim)
    assert shop.store.get(job_id).attempts_failed == 0


def test_a_job_that_no_live_worker_has_the_model_for_is_failed_and_names_each(shop: Shop) -> None:
    live(shop, "w1", "w2")
    live(shop, "small", vram_gib=8)
    job_id = shop.submit(max_attempts=5)

    states = []
    for attempt, worker in ((1, "w2"), (2, "w1")):
        shop.store.claim(job_id, worker=worker)
        error = an_error(ErrorKind.UNSUITABLE, f"{worker} has no wan.safetensors")
        states.append(shop.store.fail(job_id, attempt, error, retry_in_s=0))

    record = shop.store.get(job_id)
    assert states == [JobState.QUEUED, JobState.FAILED]
    assert record.error is not None
    assert (record.error.kind, record.error.code) == (ErrorKind.UNSUITABLE, "no_worker_can")
    assert record.error.message == "no worker here can run it (tried: w2, w1): w1 has no wan.safetensors"
    assert record.error.details == {"workers": ["w2", "w1"]}
    assert [note.worker for note in record.attempts] == ["w2", "w1"]


def test_a_job_waits_for_a_worker_that_is_away_for_a_moment(lenient: Shop) -> None:
    live(lenient, "w1")
    live(lenient, "w2", not_fetching=(NotFetching.COMFYUI_DOWN,))
    job_id = lenient.running("w1")

    assert lenient.store.fail(job_id, 1, an_error(ErrorKind.UNSUITABLE), retry_in_s=0) is JobState.QUEUED
    assert lenient.store.claim(job_id, worker="w1") is Refused.NOT_HERE
    lenient.store.drop_worker("w2")
    assert lenient.store.claim(job_id, worker="w1") is Refused.NOT_HERE
    live(lenient, "w2")
    assert isinstance(lenient.store.claim(job_id, worker="w2"), Claim)

    assert lenient.store.fail(job_id, 2, an_error(ErrorKind.UNSUITABLE), retry_in_s=0) is JobState.FAILED
    lenient.store.retry(job_id)
    lenient.store.claim(job_id, worker="w1")
    assert lenient.store.fail(job_id, 3, an_error(ErrorKind.UNSUITABLE), retry_in_s=0) is JobState.QUEUED


def test_a_job_is_not_tried_on_ever_more_workers(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, avoid_s=0, max_unsuitable=2))
    live(shop, "w1", "w2", "w3")
    job_id = shop.running("w1")
    shop.store.fail(job_id, 1, an_error(ErrorKind.UNSUITABLE), retry_in_s=0)
    shop.store.claim(job_id, worker="w2")

    assert shop.store.fail(job_id, 2, an_error(ErrorKind.UNSUITABLE), retry_in_s=0) is JobState.FAILED


def test_a_failed_job_is_left_to_another_worker_while_there_is_one(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, avoid_s=0.1))
    job_id = shop.running("w1")
    live(shop, "w2", vram_gib=141)
    shop.store.fail(job_id, 1, an_error(), retry_in_s=0)
    time.sleep(0.15)  # past the time for which it is kept from w1 whoever lives

    assert shop.store.claim(job_id, worker="w1") is Refused.NOT_HERE
    live(shop, "w2", vram_gib=141, not_fetching=(NotFetching.DRAINING,))

    assert isinstance(shop.store.claim(job_id, worker="w1"), Claim)


def test_a_job_whose_message_came_first_to_a_worker_that_failed_it_is_announced_again(
    open_shop: Open,
) -> None:
    shop = open_shop(StoreLimits(lease_s=60, avoid_s=60, notify_again_after_s=3600))
    job_id = shop.running("w1")
    live(shop, "w2")
    shop.store.fail(job_id, 1, an_error(), retry_in_s=0)
    assert job_id in shop.pop_all()
    assert shop.store.claim(job_id, worker="w1") is Refused.NOT_HERE

    shop.sweep_until(lambda: job_id in shop.pop_all())

    assert isinstance(shop.store.claim(job_id, worker="w2"), Claim)


def doubtful(shop: Shop, job_id: str, worker: str, *, how: str = "ImportError in KSampler") -> JobState:
    """The job fails on a worker in a way that may be the worker's doing."""
    claim = claimed(shop.store, job_id, worker)
    error = an_error(ErrorKind.JOB)
    answer = shop.store.fail(job_id, claim.attempt, error, retry_in_s=0, doubt=how, token=claim.token)
    assert isinstance(answer, JobState)
    return answer


def test_what_may_be_the_workers_doing_is_tried_on_another_one_and_not_counted(lenient: Shop) -> None:
    live(lenient, "w1", "w2")
    job_id = lenient.submit(max_attempts=1)

    assert doubtful(lenient, job_id, "w1") is JobState.QUEUED

    assert lenient.store.get(job_id).attempts_failed == 0
    assert lenient.pop_all()[0] == job_id
    claim = claimed(lenient.store, job_id, "w2")
    assert lenient.store.succeed(job_id, claim.attempt, a_result()) is LeaseAnswer.OK


def test_a_bad_job_runs_on_two_workers_at_most_and_then_it_is_its_own_fault(lenient: Shop) -> None:
    live(lenient, "w1", "w2", "w3")
    job_id = lenient.submit(max_attempts=3)

    assert doubtful(lenient, job_id, "w1") is JobState.QUEUED
    assert doubtful(lenient, job_id, "w2") is JobState.FAILED

    error = lenient.store.get(job_id).error
    assert error is not None
    assert error.kind is ErrorKind.JOB


def test_a_job_that_fails_in_another_way_on_the_second_worker_is_tried_on_a_third(lenient: Shop) -> None:
    live(lenient, "w1", "w2", "w3")
    job_id = lenient.submit(max_attempts=3)

    answers = [doubtful(lenient, job_id, worker, how=worker) for worker in ("w1", "w2", "w3")]

    assert answers == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert lenient.store.get(job_id).attempts_failed == 2  # all but the first are counted


def test_on_a_fleet_of_one_worker_a_bad_job_fails_at_once(shop: Shop) -> None:
    live(shop, "w1")
    job_id = shop.submit(max_attempts=3)

    assert doubtful(shop, job_id, "w1") is JobState.FAILED


def test_a_worker_that_was_heard_of_a_moment_ago_may_be_back_and_try_a_job_that_failed_elsewhere(
    shop: Shop,
) -> None:
    live(shop, "w1")
    live(shop, "w2", vram_gib=8)
    live(shop, "w3")
    shop.store.drop_worker("w3")
    job_id = shop.submit()

    assert doubtful(shop, job_id, "w1") is JobState.QUEUED
    live(shop, "w3")
    assert doubtful(shop, job_id, "w3") is JobState.FAILED


def test_a_worker_of_a_smaller_class_is_no_second_worker(shop: Shop) -> None:
    live(shop, "w1")
    live(shop, "w2", vram_gib=8)
    job_id = shop.submit()

    assert doubtful(shop, job_id, "w1") is JobState.FAILED


def test_a_bad_job_does_not_wait_for_ever_for_a_worker_that_fetches_nothing(lenient: Shop) -> None:
    live(lenient, "w1")
    live(lenient, "w2", not_fetching=(NotFetching.DRAINED,))
    job_id = lenient.submit(max_attempts=3)

    answers = [doubtful(lenient, job_id, "w1"), doubtful(lenient, job_id, "w1")]

    assert answers == [JobState.QUEUED, JobState.FAILED]


def test_a_job_in_doubt_waits_for_a_worker_that_only_starts(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, avoid_s=0.1))
    live(shop, "w1")
    live(shop, "w2", not_fetching=(NotFetching.STARTING,))
    job_id = shop.submit()
    assert doubtful(shop, job_id, "w1") is JobState.QUEUED
    time.sleep(0.15)  # past the time for which it is kept from w1 whoever lives

    assert shop.store.claim(job_id, worker="w1") is Refused.NOT_HERE
    assert isinstance(shop.store.claim(job_id, worker="w2"), Claim)


def test_a_job_that_is_retried_is_in_doubt_anew(lenient: Shop) -> None:
    live(lenient, "w1", "w2")
    job_id = lenient.submit()
    doubtful(lenient, job_id, "w1")
    doubtful(lenient, job_id, "w2")

    lenient.store.retry(job_id)

    assert doubtful(lenient, job_id, "w1") is JobState.QUEUED


def test_a_job_that_needs_more_waits_in_another_queue(shop: Shop) -> None:
    job_id = shop.running("w1", labels=["a"])
    shop.pop_all()

    shop.store.fail(job_id, 1, an_error(), retry_in_s=0, queue="render.48")

    record = shop.store.get(job_id)
    assert (record.state, record.queue) == (JobState.QUEUED, "render.48")
    assert shop.pop_all() == []
    assert shop.pop_all("render.48") == [job_id]
    assert [(each.queue, each.waiting) for each in shop.store.counts().waiting] == [("render.48", 1)]


def test_a_worker_is_told_to_fetch_nothing_until_that_is_taken_back(shop: Shop) -> None:
    feed = shop.store.listen_control()

    shop.store.set_drain("w1", Drain.NOW)

    assert feed.next(5.0) == ""
    assert (shop.store.drain_of("w1"), shop.store.drain_of("w2")) == (Drain.NOW, None)
    shop.store.set_drain("w1", None)
    assert shop.store.drain_of("w1") is None
    feed.close()


def test_a_released_job_is_queued_at_the_front_and_nothing_is_counted(shop: Shop) -> None:
    job_id = shop.running("w1")
    shop.pop_all()
    younger = shop.submit()

    answers = [shop.store.release(job_id, 1, reason="drain") for _ in range(2)]

    record = shop.store.get(job_id)
    assert answers == [LeaseAnswer.OK, LeaseAnswer.OK]
    assert (record.state, record.attempts_failed, record.attempts_lost) == (JobState.QUEUED, 0, 0)
    assert shop.pop_all() == [job_id, younger]
    assert isinstance(shop.store.claim(job_id, worker="w1"), Claim)


# -- cancel ----------------------------------------------------------------------------------------


def test_a_waiting_job_is_canceled_at_once(shop: Shop) -> None:
    job_id = shop.submit()

    assert shop.store.cancel(job_id, reason="changed my mind") is JobState.CANCELED

    assert shop.store.claim(job_id, worker="w1") is Refused.NOT_QUEUED
    assert [event.data["state"] for event in shop.store.events(job_id)] == ["queued", "canceled"]
    assert shop.store.events(job_id)[-1].data["reason"] == "changed my mind"
    assert shop.store.counts().waiting == ()


def test_a_running_job_is_asked_and_ends_when_its_worker_says_so(shop: Shop) -> None:
    job_id = shop.running()

    assert shop.store.cancel(job_id) is JobState.RUNNING

    assert shop.store.get(job_id).cancel_requested
    assert shop.store.renew(job_id, 1) is LeaseAnswer.CANCELED
    assert shop.store.report(job_id, 1, []) is LeaseAnswer.CANCELED
    assert [shop.store.end_canceled(job_id, 1) for _ in range(2)] == [LeaseAnswer.OK, LeaseAnswer.OK]
    assert shop.state(job_id) is JobState.CANCELED
    assert [note.outcome for note in shop.store.get(job_id).attempts] == ["canceled"]


@pytest.mark.parametrize("last_word", ["succeed", "fail", "release"])
def test_after_a_cancel_no_other_end_counts(shop: Shop, last_word: str) -> None:
    job_id = shop.running()
    shop.store.cancel(job_id)
    say: dict[str, Callable[[], object]] = {
        "succeed": lambda: shop.store.succeed(job_id, 1, a_result()),
        "fail": lambda: shop.store.fail(job_id, 1, an_error(), retry_in_s=0),
        "release": lambda: shop.store.release(job_id, 1, reason="drain"),
    }

    assert [say[last_word](), say[last_word]()] == ["canceled", "canceled"]

    assert (shop.state(job_id), shop.store.get(job_id).result) == (JobState.CANCELED, None)
    assert shop.store.end_canceled(job_id, 1) is LeaseAnswer.OK


def test_a_cancel_after_the_end_changes_nothing(shop: Shop) -> None:
    job_id = shop.running()
    shop.store.succeed(job_id, 1, a_result())
    before = shop.store.get(job_id)

    assert shop.store.cancel(job_id) is JobState.SUCCEEDED

    assert shop.store.get(job_id) == before
    with pytest.raises(JobNotFound):
        shop.store.cancel(new_job_id())


@pytest.mark.parametrize("last_word", ["end_canceled", "succeed", "fail", "release", "put_on_hold", "lost"])
def test_the_reason_of_a_cancel_is_told_whichever_write_finds_it(hasty: Shop, last_word: str) -> None:
    job_id = hasty.running()
    store = hasty.store
    store.cancel(job_id, reason="the client changed its mind")
    store.cancel(job_id, reason="so did I")
    say: dict[str, Callable[[], object]] = {
        "end_canceled": lambda: store.end_canceled(job_id, 1),
        "succeed": lambda: store.succeed(job_id, 1, a_result()),
        "fail": lambda: store.fail(job_id, 1, an_error(), retry_in_s=0),
        "release": lambda: store.release(job_id, 1, reason="drain"),
        "put_on_hold": lambda: store.put_on_hold(job_id, 1, an_error(), hold_s=60.0),
        "lost": lambda: hasty.sweep_until(lambda: hasty.state(job_id) is not JobState.RUNNING),
    }

    say[last_word]()

    record = store.get(job_id)
    assert (record.state, record.reason) == (JobState.CANCELED, "the client changed its mind")
    asked, ended = [event.data["reason"] for event in store.events(job_id) if event.data.get("reason")]
    assert asked == ended == "the client changed its mind"


def test_a_job_that_is_retried_forgets_why_it_was_canceled(shop: Shop) -> None:
    job_id = shop.submit()
    shop.store.cancel(job_id, reason="enough")

    shop.store.retry(job_id)

    assert shop.store.get(job_id).cancel_reason is None
    shop.store.cancel(job_id)
    assert shop.store.get(job_id).cancel_reason is None


@pytest.mark.parametrize("reason", ["x" * 100_000, " \ud800 torn ", "змінив\n думку"])
def test_a_reason_of_any_text_is_kept_short_and_readable(shop: Shop, reason: str) -> None:
    job_id = shop.submit()

    shop.store.cancel(job_id, reason=reason)

    kept = shop.store.get(job_id).cancel_reason
    assert kept is not None
    assert kept == reason.strip()[:500].replace("\ud800", "?")
    assert shop.store.events(job_id)[-1].data["reason"] == kept


def test_a_job_that_nobody_canceled_cannot_end_so(shop: Shop) -> None:
    job_id = shop.running()

    assert shop.store.end_canceled(job_id, 1) is LeaseAnswer.LOST

    assert shop.state(job_id) is JobState.RUNNING


def test_a_canceled_job_whose_worker_died_is_canceled_not_queued_again(hasty: Shop) -> None:
    job_id = hasty.running()
    hasty.store.cancel(job_id)

    hasty.sweep_until(lambda: hasty.state(job_id) is not JobState.RUNNING)

    assert hasty.state(job_id) is JobState.CANCELED


@pytest.mark.parametrize("_round", range(5))
def test_a_cancel_that_races_with_the_result_has_one_winner(shop: Shop, _round: int) -> None:
    job_id = shop.running()
    gate = threading.Barrier(2)

    def succeed() -> LeaseAnswer:
        gate.wait()
        return shop.store.succeed(job_id, 1, a_result())

    def cancel() -> JobState:
        gate.wait()
        return shop.store.cancel(job_id)

    with ThreadPoolExecutor(2) as pool:
        result, canceled = pool.submit(succeed), pool.submit(cancel)
        outcome = (result.result(), canceled.result(), shop.state(job_id))

    assert outcome in (
        (LeaseAnswer.OK, JobState.SUCCEEDED, JobState.SUCCEEDED),
        (LeaseAnswer.CANCELED, JobState.RUNNING, JobState.CANCELED),
    )


def test_who_listens_hears_of_the_cancel_of_a_running_job(shop: Shop) -> None:
    job_id = shop.running()
    feed = shop.store.listen_control()

    assert feed.next(0.0) is None
    shop.store.cancel(job_id)

    assert feed.next(5.0) == job_id
    feed.close()


def test_an_attempt_of_the_same_number_with_another_token_may_write_nothing(shop: Shop) -> None:
    job_id = shop.submit()
    claim = claimed(shop.store, job_id, "w2")
    store, lost = shop.store, LeaseAnswer.LOST

    assert store.renew(job_id, 1, token="forgotten") is lost
    assert store.report(job_id, 1, [NewEvent(kind=EventKind.LOG, data={})], token="forgotten") is lost
    assert store.succeed(job_id, 1, a_result("old"), token="forgotten") is lost
    assert store.fail(job_id, 1, an_error(), retry_in_s=None, token="forgotten") is lost
    assert store.release(job_id, 1, reason="drain", token="forgotten") is lost
    store.cancel(job_id)
    assert store.end_canceled(job_id, 1, token="forgotten") is lost
    assert store.renew(job_id, 1, token=claim.token) is LeaseAnswer.CANCELED
    assert store.end_canceled(job_id, 1, token=claim.token) is LeaseAnswer.OK


def test_the_record_names_the_token_that_runs_and_then_the_one_that_was_accepted(shop: Shop) -> None:
    job_id = shop.submit()
    assert shop.store.get(job_id).token is None
    first = claimed(shop.store, job_id)
    assert shop.store.get(job_id).token == first.token
    shop.store.release(job_id, 1, reason="drain", token=first.token)
    assert shop.store.get(job_id).token is None
    second = claimed(shop.store, job_id, "w2")

    shop.store.succeed(job_id, 2, a_result(), token=second.token)

    assert shop.store.get(job_id).token == second.token


def test_the_last_word_is_answered_twice_to_whom_it_was_answered_once(shop: Shop) -> None:
    job_id = shop.submit()
    claim = claimed(shop.store, job_id, "w2")

    answers = [
        shop.store.succeed(job_id, 1, a_result(), token=t) for t in (claim.token, claim.token, "forgotten")
    ]

    assert answers == [LeaseAnswer.OK, LeaseAnswer.OK, LeaseAnswer.LOST]


# -- retry, deadline, retention --------------------------------------------------------------------


def test_a_failed_job_is_queued_anew_with_fresh_counters(shop: Shop) -> None:
    job_id = shop.running("w1", max_attempts=1)
    shop.store.fail(job_id, 1, an_error(), retry_in_s=0)
    shop.pop_all()

    assert shop.store.retry(job_id) is JobState.QUEUED

    record = shop.store.get(job_id)
    assert (record.attempts_failed, record.error, record.finished_at) == (0, None, None)
    assert shop.pop_all() == [job_id]
    claim = claimed(shop.store, job_id)
    assert claim.attempt == 2  # the fencing token goes on


def test_canceled_and_expired_jobs_can_be_retried(shop: Shop) -> None:
    canceled = shop.submit()
    shop.store.cancel(canceled)
    expired = shop.submit(deadline=datetime.now(UTC) - timedelta(hours=1))
    shop.store.claim(expired, worker="w1")

    for job_id in (canceled, expired):
        assert shop.store.retry(job_id) is JobState.QUEUED
        assert shop.store.sweep().expired == ()
        assert isinstance(shop.store.claim(job_id, worker="w1"), Claim)
        assert shop.store.renew(job_id, shop.store.get(job_id).attempt) is LeaseAnswer.OK


def test_only_what_ended_badly_can_be_retried(shop: Shop) -> None:
    waiting, running, done = shop.submit(), shop.running(), shop.running()
    shop.store.succeed(done, 1, a_result())

    for job_id in (waiting, running, done):
        with pytest.raises(IllegalMove, match="cannot be queued again"):
            shop.store.retry(job_id)
    with pytest.raises(JobNotFound):
        shop.store.retry(new_job_id())


def test_a_job_not_started_by_its_deadline_expires(shop: Shop) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    by_claim, by_sweep = shop.submit(deadline=past), shop.submit(deadline=past)
    in_time = shop.submit(deadline=datetime.now(UTC) + timedelta(hours=1))

    refused = shop.store.claim(by_claim, worker="w1")
    swept = shop.store.sweep()

    assert refused is Refused.EXPIRED
    assert swept.expired == (by_sweep,)
    assert [shop.state(job_id) for job_id in (by_sweep, by_claim)] == [JobState.EXPIRED] * 2
    assert shop.state(in_time) is JobState.QUEUED


def test_a_deadline_does_not_stop_a_job_that_was_started(shop: Shop) -> None:
    deadline = datetime.now(UTC) + timedelta(milliseconds=100)
    job_id = shop.running("w1", deadline=deadline)
    shop.store.release(job_id, 1, reason="drain")

    eventually(lambda: datetime.now(UTC) > deadline + timedelta(milliseconds=50))

    assert shop.store.sweep().expired == ()
    assert isinstance(shop.store.claim(job_id, worker="w2"), Claim)


def test_the_events_of_a_job_that_ended_a_while_ago_tell_no_more_how_it_went_on(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(fold_after_s=0.0))
    done, runs = shop.running("w1"), shop.running("w2")
    progress = [NewEvent(kind=EventKind.PROGRESS, data={"fraction": step / 200}) for step in range(200)]
    finding = NewEvent(kind=EventKind.FINDING, data={"code": "blocked"})
    for job_id in (done, runs):
        shop.store.report(job_id, 1, [*progress, finding])
    shop.store.succeed(done, 1, a_result())
    before = shop.store.events(done, limit=1000)

    shop.store.sweep()

    after = shop.store.events(done, limit=1000)
    assert after == [event for event in before if event.kind is not EventKind.PROGRESS]
    assert [event.kind for event in after] == [EventKind.STATE] * 2 + [EventKind.FINDING, EventKind.STATE]
    assert shop.store.events(done, after=before[100].event_id) == after[2:]
    assert len(shop.store.events(runs, limit=1000)) == 203
    assert shop.store.events(done, limit=2) == after[:2]
    assert shop.store.events(done, after=after[-1].event_id, block_s=30.0) == []
    assert shop.store.recent_events(done) == after
    assert shop.store.recent_events(done, limit=2) == after[-2:]


def test_a_job_that_is_tried_again_long_after_its_end_tells_of_both_times(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(fold_after_s=0.0))
    job_id = shop.running()
    shop.store.fail(job_id, 1, an_error(), retry_in_s=None)
    shop.store.sweep()
    before = shop.store.events(job_id)

    shop.store.retry(job_id)
    shop.store.cancel(job_id)
    shop.store.sweep()

    assert shop.store.events(job_id)[:3] == before
    assert [event.data["state"] for event in shop.store.events(job_id)[3:]] == ["queued", "canceled"]


def test_who_follows_a_job_when_its_events_move_into_its_record_hears_of_its_end(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(fold_after_s=0.0))
    job_id = shop.running()
    reading = follow(shop.store, job_id, "0")
    seen = [next(reading) for _ in range(2)]

    shop.store.succeed(job_id, 1, a_result())
    shop.store.sweep()  # before the reader looks again

    seen += reading
    assert [ends(each) for each in seen] == [False, False, True]


def test_ids_and_briefs_are_those_of_the_records(shop: Shop) -> None:
    waiting = shop.submit(labels=["a"], priority=7)
    paused, parked = shop.submit(labels=["a"]), shop.store.submit([a_job(parked="no card")])[0].job_id
    shop.store.pause([paused])
    canceled = shop.submit(labels=["a"])
    shop.store.cancel(canceled)

    page = shop.store.find_ids(label="a", limit=2)
    rest = shop.store.find_ids(label="a", limit=2, cursor=page.next_cursor)
    briefs = shop.store.briefs([waiting, "0" * 32, parked, paused, canceled])

    assert page.ids + rest.ids == (canceled, paused, waiting)
    assert rest.next_cursor is None
    assert shop.store.find_ids(state=JobState.CANCELED).ids == (canceled,)
    assert list(briefs) == [waiting, parked, paused, canceled]
    for job_id, brief in briefs.items():
        record = shop.store.get(job_id)
        assert (brief.job_id, brief.state, brief.priority) == (job_id, record.state, record.spec.priority)
        assert brief.submitted_at == record.submitted_at
        assert brief.held == (job_id in (paused, parked))


def test_an_ended_job_is_forgotten_after_its_retention_with_its_key(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(retention_s=0.05))
    done = shop.running(idempotency_key="k", labels=["a"])
    shop.store.succeed(done, 1, a_result())
    waiting = shop.submit(labels=["a"])
    purged = 0

    def is_gone() -> bool:
        nonlocal purged
        purged += shop.store.sweep().purged
        return shop.store.counts().by_state[JobState.SUCCEEDED] == 0

    eventually(is_gone)

    assert purged == 1
    assert [job.job_id for job in shop.store.find(label="a").jobs] == [waiting]
    with pytest.raises(JobNotFound):
        shop.store.get(done)
    with pytest.raises(JobNotFound):
        shop.store.events(done)
    assert shop.submit(idempotency_key="k", title="another") != done


def test_the_epoch_is_the_same_for_all_and_whoever_knew_another_one_makes_it_known(shop: Shop) -> None:
    epoch = shop.store.epoch()
    assert shop.store.epoch(known=epoch) == shop.store.ping()["epoch"] == epoch
    with pytest.raises(JobNotFound, match="past its retention"):
        shop.store.get(new_job_id())

    assert shop.store.epoch(known="of another memory") == epoch

    with pytest.raises(JobForgotten, match="submit them again"):
        shop.store.get(new_job_id())


def test_several_stewards_at_once_repair_each_thing_once(hasty: Shop) -> None:
    running = [hasty.running(f"w{number}") for number in range(20)]
    hasty.pop_all()
    eventually(lambda: all(_is_over(hasty, job_id) for job_id in running))

    with ThreadPoolExecutor(4) as pool:
        swept = list(pool.map(lambda _: hasty.store.sweep(), range(4)))

    assert sorted(job_id for each in swept for job_id in each.lost) == sorted(running)
    assert {hasty.store.get(job_id).attempts_lost for job_id in running} == {1}
    assert set(hasty.pop_all()) == set(running)


def _is_over(shop: Shop, job_id: str) -> bool:
    lease_until = shop.store.get(job_id).lease_until
    return lease_until is not None and lease_until < shop.store.ping()["now"]


# -- order -----------------------------------------------------------------------------------------


def _claims_until(shop: Shop, wanted: str, *, rounds: int) -> int:
    """How many jobs a worker of two classes takes until it has one, when larger ones never end."""
    for count in range(rounds):
        shop.submit(queue="render.24")
        job_id = shop.pop("render.24") or shop.pop("render.8")  # as Celery: the larger queue first
        assert job_id is not None
        claim = shop.store.claim(job_id, worker="w1")
        if job_id == wanted:
            return count
        if isinstance(claim, Claim):
            shop.store.succeed(job_id, claim.attempt, a_result())
        shop.store.sweep()
    return rounds


def test_a_job_of_a_small_class_does_not_wait_for_ever_behind_larger_ones(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, notify_again_after_s=0.02, pass_over_s=0.05))
    live(shop, "w1")
    shop.submit(queue="render.24")
    small = shop.submit(queue="render.8")

    assert _claims_until(shop, small, rounds=5000) < 5000
    assert shop.state(small) is JobState.RUNNING


def test_no_notification_is_put_into_a_queue_that_nobody_empties(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, notify_again_after_s=0.0, pass_over_s=0.0))
    live(shop, "w1", not_fetching=(NotFetching.DRAINED,))
    small, large, _other = (shop.submit(queue=queue) for queue in ("render.8", "render.24", "render.24"))
    shop.store.claim(large, worker="w1")
    shop.pop_all("render.24")

    shop.store.sweep()

    assert small not in shop.pop_all("render.24")
    live(shop, "w1")
    shop.store.sweep()
    assert small in shop.pop_all("render.24")


def test_a_job_that_was_not_passed_over_for_long_is_left_to_its_own_queue(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, notify_again_after_s=0.0, pass_over_s=3600))
    live(shop, "w1")
    shop.submit(queue="render.24")
    small = shop.submit(queue="render.8")

    assert _claims_until(shop, small, rounds=50) == 50


def test_more_urgent_jobs_are_not_passed_by_older_ones_that_are_less_urgent(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, notify_again_after_s=0.0, pass_over_s=0.0))
    live(shop, "w1")
    shop.submit(queue="render.8", priority=6)
    urgent = [shop.submit(queue="render.24", priority=5) for _ in range(3)]

    claimed = []
    for _ in urgent:
        job_id = shop.pop("render.24")
        assert job_id is not None
        claimed.append(job_id)
        shop.store.claim(job_id, worker="w1")
        shop.store.sweep()

    assert claimed == urgent


def test_a_job_that_was_given_back_goes_before_those_that_came_later(shop: Shop) -> None:
    first, second, third = (shop.submit() for _ in range(3))
    for job_id in (first, second):
        assert shop.pop(QUEUE) == job_id
        shop.store.claim(job_id, worker="w1")

    shop.store.release(first, 1, reason="drain")
    shop.store.fail(second, 1, an_error(), retry_in_s=0)

    *earlier, last = shop.pop_all()
    assert (set(earlier), last) == ({first, second}, third)


# -- notifications that are missing ------------------------------------------------------------------------


def test_a_job_whose_message_vanished_is_announced_again(hasty: Shop) -> None:
    jobs = [done.job_id for done in hasty.store.submit([a_job() for _ in range(3)])]
    hasty.pop_all()  # as a worker that died before it could claim

    assert hasty.notified_by_sweeps(3) == jobs


def test_a_job_that_was_passed_over_is_found_behind_a_long_list(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, notify_again_after_s=0.05))
    lost = shop.submit()
    assert shop.pop(QUEUE) == lost
    claimed, *younger = [shop.submit() for _ in range(4)]
    for job_id in (shop.submit(), shop.submit()):
        shop.store.cancel(job_id)  # their messages stay, so there are as many as there are waiting jobs
    assert shop.pop(QUEUE) == claimed
    assert isinstance(shop.store.claim(claimed, worker="w1"), Claim)

    notifications: list[Notification] = []

    def found() -> bool:
        notifications.extend(shop.store.sweep().notifications)
        return bool(notifications)

    eventually(found)

    assert [notification.job_id for notification in notifications] == [lost]
    assert [shop.pop(QUEUE), shop.pop(QUEUE)] == [lost, younger[0]]


def test_a_job_that_is_next_is_not_announced_ever_more_while_its_queue_waits_for_more_urgent_ones(
    open_shop: Open,
) -> None:
    shop = open_shop(StoreLimits(lease_s=60, notify_again_after_s=0.0))
    older = shop.submit()
    assert shop.pop(QUEUE) == older
    younger = shop.submit()
    assert shop.pop(QUEUE) == younger
    assert isinstance(shop.store.claim(younger, worker="w1"), Claim)

    for _ in range(20):  # nobody pops
        shop.store.sweep()

    assert shop.pop_all() == [older]


def test_a_sweep_does_nothing_when_nothing_is_wrong(shop: Shop) -> None:
    for _ in range(5):
        shop.submit()
    shop.running()

    swept = shop.store.sweep()

    assert not swept
    assert len(shop.pop_all()) == 5  # that of the claimed one is dropped: there are as many as jobs


def test_only_waiting_jobs_are_announced(shop: Shop) -> None:
    waiting, running = shop.submit(), shop.running()
    shop.pop_all()
    notifications = [
        Notification(job_id=job_id, queue=QUEUE, priority=5, title="t", front=True)
        for job_id in (waiting, running, new_job_id())
    ]

    shop.store.notify(notifications)

    assert shop.pop_all() == [waiting]


def test_a_notification_too_many_does_not_make_a_retry_that_waits_be_forgotten(shop: Shop) -> None:
    job_id = shop.running()
    shop.store.fail(job_id, 1, an_error(), retry_in_s=0.2)
    shop.pop_all()

    # As a steward does that found the job in its priority queue, and slept while it was run and failed.
    shop.store.notify([Notification(job_id=job_id, queue=QUEUE, priority=5, title="t", front=True)])

    assert shop.pop_all() == []
    shop.sweep_until(lambda: shop.pop(QUEUE) == job_id)
    assert isinstance(shop.store.claim(job_id, worker="w2"), Claim)


def test_messages_of_jobs_that_wait_no_more_do_not_stand_before_one_that_does(shop: Shop) -> None:
    canceled = [shop.submit() for _ in range(250)]
    live = shop.submit()
    behind = shop.submit()
    for job_id in [*canceled, behind]:
        shop.store.cancel(job_id)

    shop.store.sweep()

    assert shop.pop_all() == [live]


def test_messages_behind_one_that_waits_become_as_many_as_there_are_jobs(open_shop: Open) -> None:
    shop = open_shop(replace(LONG, looked_at=7))
    waiting = [shop.submit() for _ in range(30)]
    gone, moved, running = waiting[5:25:2], waiting[6:12:2], waiting[14]
    shop.store.cancel_many(gone)
    shop.store.prioritize(moved, 2)
    assert isinstance(shop.store.claim(running, worker="w1"), Claim)

    for _ in range(30 // 7 + 2):
        shop.store.sweep()

    there = set(waiting) - {*gone, *moved, running}
    assert shop.pop_all() == [*moved, *(job_id for job_id in waiting if job_id in there)]


def test_a_message_of_a_job_that_waits_is_not_dropped(shop: Shop) -> None:
    waiting = [shop.submit() for _ in range(3)]

    shop.store.sweep()

    assert shop.pop_all() == waiting


def test_a_batch_of_notifications_keeps_its_order(shop: Shop) -> None:
    jobs = [shop.submit() for _ in range(3)]
    shop.pop_all()

    shop.store.notify(
        [Notification(job_id=job_id, queue=QUEUE, priority=5, title="t", front=True) for job_id in jobs]
    )

    assert shop.pop_all() == jobs


# -- reads -----------------------------------------------------------------------------------------


def test_events_tell_the_whole_story_in_order(shop: Shop) -> None:
    job_id = shop.running("w1")
    events = [NewEvent(kind=EventKind.LOG, data={"line": f"{n}", "list": []}) for n in range(3)]
    progress = Progress(phase="sample_high", fraction=0.25, node_id="57", step=5, steps=20)

    shop.store.report(job_id, 1, events, progress=progress)
    under_way = shop.store.get(job_id).progress
    shop.store.succeed(job_id, 1, a_result())

    story = shop.store.events(job_id)
    assert [event.kind for event in story] == ["state", "state", "log", "log", "log", "state"]
    assert [event.data for event in story[2:5]] == [event.data for event in events]
    assert story[1].data == {"state": "running", "attempt": 1, "worker": "w1"}
    assert all(event.job_id == job_id for event in story)
    assert under_way == progress
    at_end = shop.store.get(job_id).progress
    assert at_end is not None
    assert at_end.fraction == 1  # what was told last, while it was published, was less


def test_a_reader_goes_on_where_it_was(shop: Shop) -> None:
    job_id = shop.submit()
    waiting = shop.store.events(job_id)
    assert [event.data["state"] for event in waiting] == ["queued"]

    shop.store.claim(job_id, worker="w1")

    assert [e.data["state"] for e in shop.store.events(job_id, after=waiting[-1].event_id)] == ["running"]
    assert [e.data["state"] for e in shop.store.events(job_id)] == ["queued", "running"]
    assert shop.store.events(job_id)[0] == waiting[0]
    assert len(shop.store.events(job_id, limit=1)) == 1


def test_a_reader_that_waits_is_woken_by_the_first_event(shop: Shop) -> None:
    job_id = shop.submit()
    seen = shop.store.events(job_id)[-1].event_id

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(shop.store.events, job_id, after=seen, block_s=30.0)
        shop.store.claim(job_id, worker="w1")
        news = reader.result(timeout=60)

    assert [event.data["state"] for event in news] == ["running"]


def test_a_reader_of_an_ended_job_does_not_wait(shop: Shop) -> None:
    job_id = shop.submit()
    shop.store.cancel(job_id)
    seen = shop.store.events(job_id)[-1].event_id

    assert shop.store.events(job_id, after=seen, block_s=30.0) == []
    assert shop.store.events(shop.submit(), after="9999999999999", block_s=0.01) == []


def test_news_of_several_jobs_come_together(shop: Shop) -> None:
    first, second, waiting = shop.running(), shop.running(), shop.submit()
    seen = shop.store.events(first)[-1].event_id

    news = shop.store.news({first: seen, second: "0", waiting: "0"}, block_s=0.1)

    assert {job_id: [e.data["state"] for e in events] for job_id, events in news.items()} == {
        second: ["queued", "running"]
    }


def test_a_stream_is_capped(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, events_kept=100))
    job_id = shop.running()

    for _ in range(10):
        shop.store.report(job_id, 1, [NewEvent(kind=EventKind.LOG, data={"line": "x"})] * 50)

    assert 100 <= len(shop.store.events(job_id, limit=1000)) <= 250


def test_pages_go_on_newest_first_without_gap_or_repeat(shop: Shop) -> None:
    jobs = [a_job(labels=["even"] if number % 2 == 0 else ["odd"]) for number in range(25)]
    shop.store.submit(jobs)
    for job in jobs[:10]:
        shop.store.cancel(job.job_id)
    newest_first = [job.job_id for job in reversed(jobs)]

    assert _pages(shop.store) == newest_first
    assert _pages(shop.store, state=JobState.QUEUED) == newest_first[:15]
    assert _pages(shop.store, label="even") == [
        j.job_id for j in reversed(jobs) if j.spec.labels == ("even",)
    ]
    assert _pages(shop.store, label="odd", state=JobState.CANCELED) == [
        job.job_id for job in reversed(jobs[:10]) if job.spec.labels == ("odd",)
    ]
    assert _pages(shop.store, label="nobody") == []


def _pages(store: JobStore, **filters: Any) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = store.find(limit=5, cursor=cursor, **filters)
        assert 0 < len(page.jobs) <= 5 or cursor is None
        found += [job.job_id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_a_rare_pair_of_state_and_label_is_found_behind_many_others(shop: Shop) -> None:
    rare = shop.submit(labels=["a"])
    shop.store.submit([a_job(labels=["a"]) for _ in range(60)])
    shop.store.submit([a_job() for _ in range(5)])
    for job in shop.store.find(label="a", limit=100).jobs[:-1]:
        shop.store.cancel(job.job_id)

    page = shop.store.find(label="a", state=JobState.QUEUED, limit=2)

    assert [job.job_id for job in page.jobs] == [rare]
    assert page.next_cursor is None


def test_a_listing_can_be_bounded_by_time(shop: Shop) -> None:
    ids = [shop.submit() for _ in range(3)]
    times = [shop.store.get(job_id).submitted_at for job_id in ids]

    page = shop.store.find(since=times[1], until=times[2])

    assert [job.job_id for job in page.jobs] == [ids[1]]


SEARCHES = (
    {"search": "fox"},
    {"search": "STRASSE"},
    {"search": '"quoted"'},
    {"search": "back\\slash"},
    {"search": "dawn dusk"},
    {"search": "comfyui"},
    {"search": "night"},
    {"search": "nowhere"},
    {"search": "fox", "where": {"seed": 18446744073709551615}},
    {"where": {"seed": 18446744073709551615}},
    {"where": {"seed": 12.0}},
    {"where": {"seed": 1}},
    {"where": {"text": "a Fox"}},
)


@pytest.mark.parametrize("given", SEARCHES, ids=str)
def test_hints_of_a_search_leave_out_no_job_that_it_means(shop: Shop, given: dict[str, Any]) -> None:
    def clip(text: str, seed: Any, **more: Any) -> NewJob:
        inputs = {"text": text, "seed": seed}
        return a_job(graph={"1": {"class_type": "Any", "inputs": inputs}}, **more)

    texts = ("a Fox", "Stra\u00dfe", 'it is "quoted"', "back\\slash", "dawn\ndusk")
    seeds = (18446744073709551615, 12, 12.0, True, 1)
    jobs = [clip(text, seed) for text, seed in zip(texts, seeds, strict=True)]
    shop.store.submit([*jobs, clip("x", 0, labels=["night"]), clip("y", 0, title="Dawn")])
    wanted = Selection(**given)

    found = [job.job_id for job in select(shop.store, wanted)]

    assert found == [job.job_id for job in shop.store.find(limit=100).jobs if wanted.holds(job)]
    assert len(found) < 8 or given["search"] == "comfyui"


def test_pages_of_a_listing_follow_each_other_without_what_was_skipped(shop: Shop) -> None:
    shop.store.submit([a_job(labels=["a"], title="odd" if number % 2 else "even") for number in range(120)])

    for wanted in (Selection(), Selection(label="a"), Selection(search="odd")):
        whole = [job.job_id for job in select(shop.store, wanted)]
        for skip in (0, 1, 59, 119, 500):
            rest = [job.job_id for look in looks(shop.store, wanted, skip=skip) for job in look.jobs]
            assert rest == whole[skip:]


def test_counts_tell_states_and_priority_queues(shop: Shop) -> None:
    shop.submit(priority=1)
    shop.submit(priority=1)
    shop.submit(queue="render.8")
    shop.running()

    counts = shop.store.counts()

    assert counts.by_state == dict.fromkeys(JobState, 0) | {JobState.QUEUED: 3, JobState.RUNNING: 1}
    assert counts.waiting == (
        Queued(queue=QUEUE, priority=1, waiting=2),
        Queued(queue="render.8", priority=5, waiting=1),
    )


def test_counts_tell_how_long_the_oldest_waits_and_which_leases_nobody_took_back(hasty: Shop) -> None:
    hasty.submit(priority=1)
    hasty.running("w1")
    time.sleep(0.1)
    hasty.submit(priority=1)

    counts = hasty.store.counts()

    (each,) = counts.waiting
    assert 0.1 <= each.oldest_s < 60
    assert counts.leases_overdue == 1
    hasty.store.sweep()
    assert hasty.store.counts().leases_overdue == 0


def test_an_unknown_job_is_said_to_be_unknown(shop: Shop) -> None:
    nobody = new_job_id()

    with pytest.raises(JobNotFound, match=nobody):
        shop.store.get(nobody)
    with pytest.raises(JobNotFound):
        shop.store.events(nobody, block_s=5.0)


# -- workers and locks -----------------------------------------------------------------------------


def test_what_workers_say_ends_by_itself_or_when_dropped(shop: Shop) -> None:
    first, second = WorkerStatus(name="a", gpu=GpuStatus(name="4090")), WorkerStatus(name="b", vram_gib=48)
    shop.store.put_worker(second, ttl_s=60)
    shop.store.put_worker(first, ttl_s=60)
    shop.store.put_worker(WorkerStatus(name="brief"), ttl_s=0.02)

    eventually(lambda: shop.store.workers() == [first, second])
    shop.store.drop_worker("a")

    assert shop.store.workers() == [second]


def test_blobs_end_by_themselves(shop: Shop) -> None:
    shop.store.put_blob("nodes", b"\x00\xff", ttl_s=60)
    shop.store.put_blob("brief", b"x", ttl_s=0.02)

    eventually(lambda: shop.store.get_blob("brief") is None)

    assert shop.store.get_blob("nodes") == b"\x00\xff"


def test_a_lock_has_one_holder_until_it_is_given_back_or_its_time_is_over(shop: Shop) -> None:
    assert shop.store.acquire("steward", "a", ttl_s=60)
    assert shop.store.acquire("steward", "a", ttl_s=60)
    assert not shop.store.acquire("steward", "b", ttl_s=60)
    shop.store.unlock("steward", "b")
    assert not shop.store.acquire("steward", "b", ttl_s=60)

    shop.store.unlock("steward", "a")

    assert shop.store.acquire("steward", "b", ttl_s=0.02)
    eventually(lambda: shop.store.acquire("steward", "a", ttl_s=60))


def test_the_epoch_stays(shop: Shop) -> None:
    assert shop.store.ping()["epoch"] == shop.store.ping()["epoch"] != None  # noqa: E711


def live(shop: Shop, *names: str, vram_gib: int = 24, not_fetching: tuple[NotFetching, ...] = ()) -> None:
    """Let workers live that can take any of these jobs, but for these reasons."""
    for name in names:
        status = WorkerStatus(name=name, vram_gib=vram_gib, not_fetching=not_fetching)
        shop.store.put_worker(status, ttl_s=600)


# -- jobs that are rendered and wait for the storage -------------------------------------------------


def put_on_hold(shop: Shop, job_id: str, *, hold_s: float = 60.0) -> object:
    return shop.store.put_on_hold(job_id, 1, an_error(), hold_s=hold_s)


def test_a_job_on_hold_is_for_the_worker_that_has_its_files_only(shop: Shop) -> None:
    job_id = shop.running("w1")
    shop.pop_all()

    assert put_on_hold(shop, job_id) is JobState.QUEUED

    assert shop.store.claim(job_id, worker="w2") is Refused.NOT_YET
    shop.store.sweep()
    assert shop.pop_all() == []
    claim = claimed(shop.store, job_id)
    assert claim.attempt == 2
    record = shop.store.get(job_id)
    assert record.attempts_failed == 0
    assert [note.outcome for note in record.attempts] == ["unpublished"]


def test_putting_on_hold_is_answered_the_same_twice_and_refused_to_a_zombie(shop: Shop) -> None:
    job_id = shop.running("w1")

    assert [put_on_hold(shop, job_id) for _ in range(2)] == [JobState.QUEUED] * 2
    shop.store.claim(job_id, worker="w1")
    assert shop.store.put_on_hold(job_id, 7, an_error(), hold_s=60.0) is LeaseAnswer.LOST
    assert shop.state(job_id) is JobState.RUNNING


def test_a_job_whose_holder_is_gone_is_announced_for_everybody(shop: Shop) -> None:
    job_id = shop.running("w1")
    shop.pop_all()

    put_on_hold(shop, job_id, hold_s=0.05)

    shop.sweep_until(lambda: shop.pop(QUEUE) == job_id)
    assert isinstance(shop.store.claim(job_id, worker="w2"), Claim)


def test_a_holder_can_hold_on_and_let_go(shop: Shop) -> None:
    job_id = shop.running("w1")
    shop.pop_all()
    put_on_hold(shop, job_id, hold_s=60.0)

    assert not shop.store.keep_on_hold(job_id, "w2", hold_s=0.0)
    assert shop.store.keep_on_hold(job_id, "w1", hold_s=60.0)
    assert shop.store.claim(job_id, worker="w2") is Refused.NOT_YET
    assert shop.store.keep_on_hold(job_id, "w1", hold_s=0.0)

    shop.sweep_until(lambda: shop.pop(QUEUE) == job_id)
    assert not shop.store.keep_on_hold(job_id, "w1", hold_s=60.0)
    assert isinstance(shop.store.claim(job_id, worker="w2"), Claim)


def test_a_job_on_hold_can_be_canceled(shop: Shop) -> None:
    waiting, running = shop.running("w1"), shop.running("w1")
    put_on_hold(shop, waiting)
    shop.store.cancel(running)

    assert shop.store.cancel(waiting) is JobState.CANCELED
    assert put_on_hold(shop, running) is JobState.CANCELED
    assert shop.store.claim(waiting, worker="w1") is Refused.NOT_QUEUED
    assert not shop.store.keep_on_hold(waiting, "w1", hold_s=60.0)
