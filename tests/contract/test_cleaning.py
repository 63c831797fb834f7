"""The clean-up of a bucket: what nobody names goes; results, and what is in work, stay."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from farm.job import JobResult, JobState
from farm.storage import S3Storage, Storage
from farm.store.base import Claim
from farm.testing import FolderStorage, MemoryJobStore
from farm.upkeep.cleaning import Cleaned, Cleaner, CleanLimits
from farm.upkeep.janitor import Janitor
from tests.support.jobs import OTHER, TOKEN, a_job, a_result, an_error
from tests.support.valkey import eventually

AT_ONCE = CleanLimits(orphans_s=-60.0)  # whatever its age; a server's clock may go a little ahead


@pytest.fixture(params=["folder", "rclone", "moto"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "folder":
        yield FolderStorage(tmp_path / "store", prefix="t1")
        return
    made = S3Storage(request.getfixturevalue("s3_settings" if request.param == "rclone" else "moto_settings"))
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "store", prefix="t1")


@pytest.fixture
def store() -> MemoryJobStore:
    return MemoryJobStore()


def put(storage: Storage, job_id: str, token: str, *, manifest: bool = True) -> str:
    """What an attempt stores; its prefix."""
    prefix = storage.keys.attempt_prefix(job_id, token)
    storage.put_bytes(b"a clip", f"{prefix}clip.mp4", media_type="video/mp4")
    if manifest:
        storage.put_bytes(b"{}", f"{prefix}manifest.json", media_type="application/json")
    return prefix


def claimed(store: MemoryJobStore, **fields: Any) -> Claim:
    return claimed_again(store, store.submit([a_job(**fields)])[0].job_id)


def claimed_again(store: MemoryJobStore, job_id: str) -> Claim:
    claim = store.claim(job_id, worker=f"w{store.get(job_id).attempt + 1}")
    assert isinstance(claim, Claim)
    return claim


def succeeded(store: MemoryJobStore, storage: Storage) -> tuple[Claim, Claim]:
    """A job whose second attempt was accepted, with files of both; the two claims."""
    first = claimed(store)
    put(storage, first.job_id, first.token)
    store.release(first.job_id, 1, reason="drain")
    second = claimed_again(store, first.job_id)
    store.succeed(first.job_id, 2, result_at(put(storage, first.job_id, second.token)))
    return first, second


def result_at(prefix: str) -> JobResult:
    return replace(a_result(), manifest_key=f"{prefix}manifest.json")


def left(storage: Storage) -> set[str]:
    root = storage.keys.jobs_prefix
    return {"/".join(found.key.removeprefix(root).split("/")[:2]) for found in storage.list(root)}


def test_only_the_accepted_attempt_of_a_job_stays(storage: Storage, store: MemoryJobStore) -> None:
    _, second = succeeded(store, storage)

    cleaned = Cleaner(store, storage, AT_ONCE).clean()

    assert left(storage) == {f"{second.job_id}/{second.token}"}
    assert (cleaned.attempts, cleaned.results) == (1, 0)


def test_the_running_attempt_is_not_touched_and_those_before_it_are_removed(
    storage: Storage, store: MemoryJobStore
) -> None:
    first = claimed(store)
    put(storage, first.job_id, first.token, manifest=False)
    store.fail(first.job_id, 1, an_error(), retry_in_s=0.0)
    second = claimed_again(store, first.job_id)
    put(storage, first.job_id, second.token, manifest=False)

    Cleaner(store, storage, AT_ONCE).clean()

    assert left(storage) == {f"{first.job_id}/{second.token}"}


def test_of_two_claims_of_one_number_the_one_that_redis_forgot_is_cleared_and_the_other_stays(
    storage: Storage, store: MemoryJobStore
) -> None:
    claim = claimed(store)
    put(storage, claim.job_id, OTHER)  # whole, but nobody's: its claim was lost in a fail-over
    running = put(storage, claim.job_id, claim.token, manifest=False)

    Cleaner(store, storage, AT_ONCE).clean()
    assert left(storage) == {f"{claim.job_id}/{claim.token}"}

    put(storage, claim.job_id, OTHER)
    store.succeed(claim.job_id, claim.attempt, result_at(running), token=claim.token)
    Cleaner(store, storage, AT_ONCE).clean()
    assert left(storage) == {f"{claim.job_id}/{claim.token}"}


def test_files_that_an_older_farm_named_by_number_are_judged_as_before(
    storage: Storage, store: MemoryJobStore
) -> None:
    first = claimed(store)
    put(storage, first.job_id, "1", manifest=False)
    store.release(first.job_id, 1, reason="drain")
    claimed_again(store, first.job_id)
    second = put(storage, first.job_id, "2", manifest=False)

    Cleaner(store, storage, AT_ONCE).clean()
    assert left(storage) == {f"{first.job_id}/2"}

    put(storage, first.job_id, "1")
    store.succeed(first.job_id, 2, result_at(second))
    Cleaner(store, storage, AT_ONCE).clean()
    assert left(storage) == {f"{first.job_id}/2"}


def test_files_of_a_job_that_redis_does_not_know_stay_if_they_are_a_whole_result(
    storage: Storage, store: MemoryJobStore
) -> None:
    put(storage, "purged-long-ago", TOKEN)
    put(storage, "died-long-ago", OTHER, manifest=False)

    Cleaner(store, storage, AT_ONCE).clean()

    assert left(storage) == {f"purged-long-ago/{TOKEN}"}


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELED])
def test_files_of_a_job_without_a_result_are_removed(
    folder: FolderStorage, store: MemoryJobStore, state: JobState
) -> None:
    claim = claimed(store)
    put(folder, claim.job_id, claim.token)
    if state is JobState.CANCELED:
        store.cancel(claim.job_id)
    store.fail(claim.job_id, 1, an_error(), retry_in_s=None)
    assert store.get(claim.job_id).state is state

    Cleaner(store, folder, AT_ONCE).clean()

    assert left(folder) == set()


def test_what_is_young_is_not_judged(storage: Storage, store: MemoryJobStore) -> None:
    put(storage, "died-just-now", TOKEN, manifest=False)

    assert Cleaner(store, storage, CleanLimits()).clean() == Cleaned()

    assert left(storage) == {f"died-just-now/{TOKEN}"}


def test_a_dry_run_removes_nothing(storage: Storage, store: MemoryJobStore) -> None:
    claims = succeeded(store, storage)

    cleaned = Cleaner(store, storage, AT_ONCE).clean(dry_run=True)

    assert (cleaned.attempts, cleaned.size_bytes) == (1, 8)
    assert left(storage) == {f"{claim.job_id}/{claim.token}" for claim in claims}


def test_keys_that_are_not_ours_are_left_alone(storage: Storage, store: MemoryJobStore) -> None:
    other = f"{storage.keys.jobs_prefix}notes.txt"
    storage.put_bytes(b"mine", other, media_type="text/plain")

    Cleaner(store, storage, AT_ONCE).clean()

    assert storage.exists(other)


def aged(storage: FolderStorage, key: str, days: float) -> None:
    """Make an object look older."""
    then = time.time() - days * 86400
    os.utime(storage._file(key), (then, then))


def test_results_go_only_when_a_retention_is_set(folder: FolderStorage, tmp_path: Path) -> None:
    now = [time.time() - 40 * 86400]
    store = MemoryJobStore(clock=lambda: now[0])
    claim = claimed(store)
    prefix = put(folder, claim.job_id, claim.token)
    store.succeed(claim.job_id, 1, result_at(prefix))
    now[0] = time.time()
    for found in list(folder.list(prefix)):
        aged(folder, found.key, 40)

    assert Cleaner(store, folder, CleanLimits()).clean().results == 0
    assert Cleaner(store, folder, CleanLimits(results_days=60)).clean().results == 0
    assert Cleaner(store, folder, CleanLimits(results_days=30)).clean().results == 1
    assert left(folder) == set()


def test_a_result_that_another_job_was_given_stays_past_its_retention(
    folder: FolderStorage, store: MemoryJobStore
) -> None:
    prefix = put(folder, "first-job-id", TOKEN)
    for found in list(folder.list(prefix)):
        aged(folder, found.key, 40)
    second = claimed(store)
    store.succeed(second.job_id, 1, result_at(prefix))

    assert Cleaner(store, folder, CleanLimits(results_days=30)).clean().results == 0
    assert left(folder) == {f"first-job-id/{TOKEN}"}


def test_inputs_go_when_they_are_old_and_no_job_names_them(
    folder: FolderStorage, store: MemoryJobStore
) -> None:
    named, unnamed, young = (folder.upload_input(text, suffix=".png") for text in (b"1", b"2", b"3"))
    store.submit([a_job(inputs={"1.image": f"{named}#sha256=0"})])
    for uri in (named, unnamed):
        aged(folder, uri.removeprefix("s3://farm/"), 31)

    cleaned = Cleaner(store, folder, CleanLimits()).clean()

    kept = {f"s3://farm/{found.key}" for found in folder.list(folder.keys.inputs_prefix)}
    assert kept == {named, young}
    assert cleaned.inputs == 1


def test_an_input_that_is_used_again_is_young_again(folder: FolderStorage, store: MemoryJobStore) -> None:
    uri = folder.upload_input(b"1", suffix=".png")
    aged(folder, uri.removeprefix("s3://farm/"), 31)

    folder.upload_input(b"1", suffix=".png")

    assert Cleaner(store, folder, CleanLimits()).clean().inputs == 0


@pytest.mark.parametrize("server", ["s3_settings", "moto_settings"])
def test_an_upload_in_parts_that_never_ended_is_given_up(
    request: pytest.FixtureRequest, store: MemoryJobStore, server: str
) -> None:
    storage = S3Storage(request.getfixturevalue(server))
    client = storage._made().client
    key = storage.keys.attempt_prefix("some-job-id", TOKEN) + "clip.mp4"
    upload = client.create_multipart_upload(Bucket=storage.bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=storage.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 100)

    if server == "s3_settings":  # moto says of every upload that it began in 2010
        assert Cleaner(store, storage, CleanLimits()).clean().uploads == 0  # it may still be under way
    assert Cleaner(store, storage, AT_ONCE).clean().uploads == 1
    assert storage.abort_uploads(storage.keys.jobs_prefix, before=datetime.now(UTC) + timedelta(hours=1)) == 0
    storage.close()


def test_one_janitor_of_the_farm_cleans(folder: FolderStorage, store: MemoryJobStore) -> None:
    put(folder, "died-long-ago", TOKEN, manifest=False)
    cleaner = Cleaner(store, folder, AT_ONCE)
    quick = {"every_s": 60.0, "first_after_s": 0.0, "look_every_s": 0.01}
    assert store.acquire("janitor", "another", ttl_s=60.0)
    janitor = Janitor(store, cleaner, holder="w1", **quick)

    janitor.start()
    try:
        store.unlock("janitor", "another")
        eventually(lambda: left(folder) == set())
    finally:
        janitor.stop()
    assert not store.acquire("janitor", "another", ttl_s=60.0)
