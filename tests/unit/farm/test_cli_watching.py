"""What `farm watch` knows of many jobs, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from farm.cli.jobs.tracking import Tracker
from farm.errors import JobNotFound
from farm.job import JobState, Progress
from farm.store.base import JobBrief
from farm.testing import MemoryJobStore
from tests.support.jobs import a_job, a_result, an_error


class CountingStore(MemoryJobStore):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def briefs(self, job_ids: Sequence[str]) -> dict[str, JobBrief]:
        self.asked += len(job_ids)
        return super().briefs(job_ids)


class Clock:
    """Goes on by itself by a second at each look at it, and when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def many() -> CountingStore:
    return CountingStore()


def submit(store: MemoryJobStore, count: int) -> list[str]:
    return [job.job_id for job in store.submit([a_job() for _ in range(count)])]


def render(store: MemoryJobStore, job_id: str) -> None:
    store.claim(job_id, worker="w1")
    store.succeed(job_id, 1, a_result())


def test_a_look_at_a_long_queue_asks_for_no_more_than_for_a_short_one(many: CountingStore) -> None:
    ids = submit(many, 3000)
    clock = Clock()
    tracker = Tracker(many, ids, clock=clock)
    tracker.look()
    clock.now = 2.0
    many.asked = 0

    many.claim(ids[0], worker="w1")
    look = tracker.look()

    assert look.counts[JobState.RUNNING] == 1
    assert [job.job_id for job in look.running] == [ids[0]]
    assert many.asked < 20


def test_who_ends_without_having_been_seen_to_run_is_found_when_all_are_looked_at(
    many: CountingStore,
) -> None:
    ids = submit(many, 100)
    clock = Clock()
    tracker = Tracker(many, ids, clock=clock)
    tracker.look()
    many.cancel(ids[80])

    clock.now += 1000.0
    look = tracker.look()

    assert [each.job_id for each in look.ended] == [ids[80]]
    assert (look.done, look.total) == (1, 100)


def test_jobs_that_others_remove_meanwhile_are_not_waited_for(store: MemoryJobStore) -> None:
    ids = submit(store, 2)
    clock = Clock()
    tracker = Tracker(store, ids, clock=clock)
    for job_id in ids:
        store.cancel(job_id)
    store.remove(ids)

    clock.now += 1000.0

    assert not tracker.look().goes_on


def test_the_rate_is_what_was_counted_and_gives_the_time_left(store: MemoryJobStore) -> None:
    ids = submit(store, 13)
    clock = Clock()
    tracker = Tracker(store, ids, clock=clock)
    tracker.look()
    for job_id in ids[:3]:
        render(store, job_id)
    clock.now = 60.0

    look = tracker.look()

    assert look.rate_per_s == pytest.approx(3 / 60, rel=0.2)
    assert look.eta_s == pytest.approx(10 / (3 / 60), rel=0.2)


def test_before_any_has_ended_the_time_left_follows_from_those_that_run(store: MemoryJobStore) -> None:
    first, *_ = submit(store, 5)
    tracker = Tracker(store, [job.job_id for job in store.find().jobs])
    assert tracker.look().eta_s is None

    store.claim(first, worker="w1")
    store.report(first, 1, [], progress=Progress(phase="vae", fraction=0.5))

    assert (tracker.look().eta_s or 0) > 0


def test_a_selection_is_over_when_all_that_is_left_is_held(store: MemoryJobStore) -> None:
    paused, parked, waiting = submit(store, 3)
    parked = store.submit([a_job(parked="no card of the 80 GiB class")])[0].job_id
    store.pause([paused])
    tracker = Tracker(store, [paused, parked, waiting])
    assert tracker.look().goes_on

    store.claim(waiting, worker="w1")
    store.fail(waiting, 1, an_error(), retry_in_s=None)
    look = tracker.look()

    assert not look.goes_on
    assert (look.done, look.held_count) == (1, 2)
    assert {job.job_id for job in look.held} == {paused, parked}


def test_an_id_of_no_job_is_told_at_once(store: MemoryJobStore) -> None:
    with pytest.raises(JobNotFound):
        Tracker(store, ["0" * 32])
