"""Which jobs a selection means."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from farm import AsyncFarm
from farm.asking.selection import Selection
from farm.client import Farm
from farm.errors import InvalidJob, JobNotFound, StorageUnavailable
from farm.handle import Job
from farm.job import JobState
from farm.store.base import Claim
from farm.testing import FolderStorage, MemoryJobStore
from farm.upkeep.cleaning import Cleaner, CleanLimits
from tests.support.fleet import TEMPLATE, wan_graph
from tests.support.jobs import a_result, an_error


@pytest.fixture
def store() -> MemoryJobStore:
    return MemoryJobStore()


@pytest.fixture
def farm(store: MemoryJobStore, tmp_path: Path) -> Iterator[Farm]:
    with Farm(store=store, storage=FolderStorage(tmp_path / "s3")) as farm:
        yield farm


@pytest.fixture
def jobs(farm: Farm) -> dict[str, Job]:
    def clip(**given: Any) -> Job:
        return farm.submit(template=TEMPLATE, **given)

    return {
        "fox": clip(parameters={"prompt": "a red Fox", "seed": 7}, labels=["shot=1", "night"], priority=3),
        "owl": clip(parameters={"prompt": "an owl, 梟", "seed": 8}, labels=["shot=2"]),
        "plain": farm.submit(wan_graph(prompt="one more fox", seed=7), labels=["night"]),
    }


SELECTIONS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing said is every job": ({}, {"fox", "owl", "plain"}),
    "label": ({"label": "night"}, {"fox", "plain"}),
    "state": ({"state": JobState.CANCELED}, set()),
    "seed of template and graph": ({"where": {"seed": 7}}, {"fox", "plain"}),
    "a number as text": ({"where": {"seed": "7"}}, {"fox", "plain"}),
    "a number written otherwise": ({"where": {"seed": "7.0"}}, {"fox", "plain"}),
    "two values": ({"where": {"seed": 7, "priority": 3}}, {"fox"}),
    "template": ({"where": {"template": TEMPLATE}}, {"fox", "owl"}),
    "an input of a node": ({"where": {"59.width": 832}}, {"fox", "owl", "plain"}),
    "what an input is for": ({"where": {"prompt": "one more fox"}}, {"plain"}),
    "frames of any job": ({"where": {"frames": 81}}, {"fox", "owl", "plain"}),
    "a name that no job has": ({"where": {"nope": 1}}, set()),
    "words in any case": ({"search": "FOX red"}, {"fox"}),
    "words of a graph's own prompt": ({"search": "more fox"}, {"plain"}),
    "words of any script": ({"search": "梟"}, {"owl"}),
    "a label is searched too": ({"search": "shot=2"}, {"owl"}),
    "all of it holds": ({"label": "night", "search": "fox", "where": {"seed": 7}}, {"fox", "plain"}),
    "before they came": ({"until": datetime.now(UTC) - timedelta(days=1)}, set()),
    "since yesterday": ({"since": datetime.now(UTC) - timedelta(days=1)}, {"fox", "owl", "plain"}),
}


@pytest.mark.parametrize(("given", "meant"), SELECTIONS.values(), ids=SELECTIONS)
def test_a_selection_means_these_jobs(
    farm: Farm, jobs: dict[str, Job], given: dict[str, Any], meant: set[str]
) -> None:
    found = {job.job_id for job in farm.select(Selection(**given))}

    assert found == {jobs[name].job_id for name in meant}
    assert {job.job_id for job in farm.list(**given)} == found


def test_jobs_that_are_named_come_in_their_order_and_once(farm: Farm, jobs: dict[str, Job]) -> None:
    ids = [jobs[name].job_id for name in ("owl", "fox", "owl")]

    assert [job.job_id for job in farm.select(Selection(ids=ids))] == ids[:2]
    assert [job.job_id for job in farm.select(Selection(ids=ids, label="night"))] == ids[1:2]
    with pytest.raises(JobNotFound):
        list(farm.select(Selection(ids=["0" * 32])))


def test_what_is_selected_is_canceled_paused_moved_resumed_and_queued_anew(
    farm: Farm, jobs: dict[str, Job]
) -> None:
    night, owl = Selection(label="night"), jobs["owl"]

    assert set(farm.pause_many(night)) == {jobs["fox"].job_id, jobs["plain"].job_id}
    assert jobs["fox"].refresh().record.paused_at is not None
    assert farm.why_waiting(jobs["fox"].job_id)[0].startswith("paused")
    farm.resume_many(night)
    assert jobs["fox"].refresh().record.paused_at is None
    farm.prioritize_many([owl.job_id], 0)
    assert owl.refresh().record.spec.priority == 0
    assert set(farm.cancel_many(night, reason="enough").values()) == {JobState.CANCELED}
    assert jobs["plain"].refresh().record.cancel_reason == "enough"
    assert list(farm.retry_many(Selection())) == [jobs["plain"].job_id, jobs["fox"].job_id]
    assert owl.refresh().state is JobState.QUEUED


def test_a_priority_that_is_none_is_refused_before_anything_is_moved(
    farm: Farm, jobs: dict[str, Job]
) -> None:
    with pytest.raises(InvalidJob, match="priority: is 10; 0 is the most urgent, 9 the least"):
        farm.prioritize_many(Selection(), 10)


def test_waiting_for_many_ends_when_all_have_however_they_did(
    farm: Farm, store: MemoryJobStore, jobs: dict[str, Job]
) -> None:
    for job, error in zip(jobs.values(), (None, an_error(), None), strict=True):
        store.claim(job.job_id, worker="w1")
        if error is None:
            store.succeed(job.job_id, 1, a_result())
        else:
            store.fail(job.job_id, 1, error, retry_in_s=None)

    ended = farm.wait_many([job.job_id for job in jobs.values()], timeout_s=60)

    assert [job.state for job in ended] == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]


def test_the_files_of_a_job_go_with_it_unless_another_one_has_them_too(
    farm: Farm, store: MemoryJobStore, jobs: dict[str, Job]
) -> None:
    storage = farm.storage
    for name in ("fox", "owl"):
        key = f"{storage.keys.attempt_prefix(jobs[name].job_id, 'a' * 32)}clip.mp4"
        storage.put_bytes(name.encode(), key, media_type="video/mp4")
    farm.cancel_many([jobs["fox"].job_id])

    states = farm.remove_many(Selection())

    assert states[jobs["fox"].job_id] is JobState.CANCELED
    assert states[jobs["owl"].job_id] is JobState.QUEUED
    left = [found.key for found in storage.list(storage.keys.jobs_prefix)]
    assert [jobs["owl"].job_id in key for key in left] == [True]
    with pytest.raises(JobNotFound):
        farm.get(jobs["fox"].job_id)
    assert jobs["owl"].refresh().state is JobState.QUEUED


def test_files_of_a_job_that_was_removed_while_the_storage_was_away_go_with_the_next_clean_up(
    farm: Farm, store: MemoryJobStore, jobs: dict[str, Job], tmp_path: Path
) -> None:
    storage, gone = FolderStorage(tmp_path / "s3"), jobs["fox"].job_id
    farm = Farm(store=store, storage=storage)
    for name in ("clip.mp4", "manifest.json"):
        storage.put_bytes(
            b"fox", f"{storage.keys.attempt_prefix(gone, 'a' * 32)}{name}", media_type="video/mp4"
        )
    farm.cancel_many([gone])
    storage.broken = StorageUnavailable("folder", "unplugged")

    assert farm.remove_many([gone]) == {gone: JobState.CANCELED}
    storage.broken = None

    assert Cleaner(store, storage, CleanLimits()).clean(dry_run=True).removed == 1
    assert Cleaner(store, storage, CleanLimits()).clean().removed == 1
    assert list(storage.list()) == []
    assert store.removed() == []


def test_files_that_another_result_names_outlive_their_own_job_and_go_after_the_other(
    farm: Farm, store: MemoryJobStore, jobs: dict[str, Job]
) -> None:
    storage = farm.storage
    maker, borrower = jobs["fox"].job_id, jobs["owl"].job_id
    prefix = storage.keys.attempt_prefix(maker, "a" * 32)
    storage.put_bytes(b"{}", f"{prefix}manifest.json", media_type="application/json")
    for job_id in (maker, borrower):
        assert isinstance(store.claim(job_id, worker="w1"), Claim)
        store.succeed(job_id, 1, replace(a_result(), manifest_key=f"{prefix}manifest.json"))

    farm.remove_many([maker])
    assert len(list(storage.list(prefix))) == 1

    farm.remove_many([borrower])
    Cleaner(store, storage, CleanLimits()).clean()
    assert list(storage.list(prefix)) == []


def test_the_same_words_work_for_asyncio(store: MemoryJobStore, tmp_path: Path) -> None:
    asyncio.run(_all_words(store, tmp_path))


async def _all_words(store: MemoryJobStore, tmp_path: Path) -> None:
    async with AsyncFarm(store=store, storage=FolderStorage(tmp_path / "s3")) as farm:
        job = await farm.submit(template=TEMPLATE, parameters={"prompt": "a fox", "seed": 7})
        assert [each.job_id async for each in farm.select(Selection(search="fox"))] == [job.job_id]
        assert await farm.cancel_many(Selection()) == {job.job_id: JobState.CANCELED}
        assert [each async for each in farm.retry_many(Selection())] == [job.job_id]
        await farm.cancel_many([job.job_id])
        assert [each.state for each in await farm.wait_many([job.job_id])] == [JobState.CANCELED]
        assert [each async for each in farm.pull_many(Selection())] == []
        assert await farm.remove_many(Selection()) == {job.job_id: JobState.CANCELED}
