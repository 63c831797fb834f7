"""What Flower is told of a job whose message was worked off here."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from farm.errors import FarmError, JobNotFound, RecordUnreadable, StoreUnavailable
from farm.job import JobRecord
from farm.testing import MemoryJobStore
from tests.support.jobs import a_job
from worker.fetching.flower import nothing_known, outcome_told
from worker.jobs.at_work import AtWork
from worker.service.desk import Desk


class RefusingStore(MemoryJobStore):
    """A store that has no record to give."""

    def __init__(self, why: FarmError) -> None:
        super().__init__()
        self._why = why

    def get(self, job_id: str) -> JobRecord:
        raise self._why


def a_desk(store: MemoryJobStore) -> Desk:
    context: Any = SimpleNamespace(store=store)
    draining: Any = SimpleNamespace(takes_no_job=False)
    giving_way: Any = SimpleNamespace()
    return Desk(context, AtWork(), draining, giving_way, threading.Event(), lambda _job_id, _told: None)


def test_what_the_ledger_says_is_told() -> None:
    store = MemoryJobStore()
    (job,) = store.submit([a_job()])

    told = a_desk(store).told(job.job_id, "given back")

    assert told == outcome_told(store.get(job.job_id), "given back")


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (JobNotFound("job-1"), outcome_told(None, "dropped: unknown")),
        (StoreUnavailable("redis", "it is away"), nothing_known()),
        (RecordUnreadable("job job-1 cannot be read"), nothing_known()),
        (FarmError("job job-1 was stored by a newer farm"), nothing_known()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_record_that_cannot_be_had_ends_no_message(why: FarmError, told: Any) -> None:
    assert a_desk(RefusingStore(why)).told("job-1", "dropped: unknown") == told
