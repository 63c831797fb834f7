"""A whole worker in the test's own process: what it says, does and leaves, from its start to its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from farm.errors import FarmError, StorageDenied, StorageUnavailable
from farm.job import JobState
from farm.settings.redis import RedisSettings
from farm.status.not_fetching import NotFetching
from farm.store.base import Drain, Refused
from farm.store.redis.safety import Durability
from tests.support.emulator_thread import EmulatorThread
from tests.support.valkey import eventually
from tests.support.whole_worker import NAME, SilentLine, WholeWorker, settings_here
from worker.errors import InUse
from worker.fetching.gate import Gate
from worker.runtime import build
from worker.service.draining import Draining
from worker.service.spot import Notice


@pytest.fixture
def whole(emulator_thread: EmulatorThread, tmp_path: Path) -> Iterator[WholeWorker]:
    made = WholeWorker(emulator_thread, tmp_path)
    yield made
    made.worker.stop()


def test_a_started_worker_fetches_once_celery_is_connected_and_not_before(whole: WholeWorker) -> None:
    whole.worker.start()

    assert NotFetching.STARTING in whole.gate.closed_for
    whole.worker.open()

    eventually(lambda: not whole.gate.closed_for)
    eventually(lambda: whole.says(lambda it: it.canary is not None and not it.not_fetching))
    assert whole.says(lambda it: it.vram_gib == 24)
    first = whole.status.started_at if whole.status is not None else None
    assert first is not None
    assert datetime.fromisoformat(first) <= datetime.now(UTC)


def test_a_job_is_worked_on_and_told_in_the_status(whole: WholeWorker) -> None:
    whole.begin()
    job_id = whole.submit()

    assert whole.work_on(job_id) == "succeeded"

    assert whole.store.get(job_id).state is JobState.SUCCEEDED
    eventually(lambda: whole.says(lambda it: it.attempts_ended == {"succeeded": 1}))


def test_a_cancel_is_heard_at_once(whole: WholeWorker, emulator_thread: EmulatorThread) -> None:
    whole.begin()
    emulator_thread.misbehave("slow", factor=100.0)
    job_id, outcomes = whole.submit(), list[str]()
    working = threading.Thread(target=lambda: outcomes.append(whole.work_on(job_id)))
    working.start()
    eventually(lambda: not emulator_thread.is_idle)

    whole.store.cancel(job_id)
    working.join(60.0)

    assert (outcomes, whole.store.get(job_id).state) == (["canceled"], JobState.CANCELED)


def test_a_drain_that_is_ordered_closes_the_gate_and_one_taken_back_opens_it(whole: WholeWorker) -> None:
    whole.begin()

    whole.store.set_drain(NAME, Drain.FINISH)
    eventually(lambda: whole.says(lambda it: it.not_fetching == (NotFetching.DRAINED,)))
    whole.store.set_drain(NAME, None)

    eventually(lambda: whole.says(lambda it: not it.not_fetching))


def test_a_worker_that_ends_gives_its_job_back_and_passes_on_what_came_too_late(
    whole: WholeWorker, emulator_thread: EmulatorThread
) -> None:
    whole.begin()
    emulator_thread.misbehave("slow", factor=100.0)
    running, late, outcomes = whole.submit(), whole.submit(), list[str]()
    working = threading.Thread(target=lambda: outcomes.append(whole.work_on(running)))
    working.start()
    eventually(lambda: not emulator_thread.is_idle)

    whole.worker.drain()
    working.join(60.0)

    assert (outcomes, whole.store.get(running).state) == (["given back"], JobState.QUEUED)
    assert whole.work_on(late) == "dropped: this worker drains"
    assert late in whole.store.notifications(whole.store.get(late).queue)


@pytest.mark.parametrize(
    "drain",
    [
        lambda whole: whole.worker.drain(),
        lambda whole: (whole.store.set_drain(NAME, Drain.NOW), whole.worker.draining.obey()),
        lambda whole: whole.worker.draining.notice(Notice(source="aws", left_s=0.0)),
    ],
    ids=["signal", "order", "spot notice"],
)
def test_a_drain_that_begins_before_a_job_is_claimed_and_after_it_was_looked_for_finds_it(
    drain: Callable[[WholeWorker], object], whole: WholeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole.begin()
    job_id = whole.submit()
    looks: Callable[[Draining], bool] = vars(Draining)["takes_no_job"].fget
    draining = threading.Thread(target=drain, args=(whole,), daemon=True)

    def drains_just_then(self: Draining) -> bool:
        drains = looks(self)
        if draining.ident is None:
            draining.start()
            draining.join(1.0)  # it is over by then if it waits for nobody
        return drains

    monkeypatch.setattr(Draining, "takes_no_job", property(drains_just_then))

    assert whole.work_on(job_id) == "given back"

    draining.join(60.0)
    assert whole.store.get(job_id).state is JobState.QUEUED


def test_files_that_are_published_without_a_message_while_the_worker_ends_stay_its_own(
    emulator_thread: EmulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = WholeWorker(emulator_thread, tmp_path, drain_grace_s=8.0)
    whole.begin()
    job_id, answers = whole.submit(), threading.Event()
    whole.storage.broken = StorageUnavailable("folder", "unplugged")
    assert whole.work_on(job_id) == "queued"
    for upload in ("upload", "put_bytes"):
        monkeypatch.setattr(whole.storage, upload, lambda *_, **__: answers.wait(60.0))
    whole.storage.broken = None
    eventually(lambda: whole.store.get(job_id).state is JobState.RUNNING)

    leaving = threading.Thread(target=whole.worker.drain)
    leaving.start()
    eventually(lambda: whole.worker.draining.ends_within(0.0))
    whole.worker.stop()  # as Celery does when its own threads have nothing in hand

    assert whole.store.get(job_id).state is JobState.QUEUED
    assert whole.store.claim(job_id, worker="another") is Refused.NOT_YET
    answers.set()
    leaving.join(60.0)


def test_jobs_of_a_worker_that_died_wait_again_before_comfyui_answers(
    emulator_thread: EmulatorThread, tmp_path: Path
) -> None:
    whole = WholeWorker(emulator_thread, tmp_path)
    emulator_thread.vanish()
    job_id = whole.submit()
    whole.store.limits = type(whole.store.limits)(lease_s=0.1)
    whole.store.claim(job_id, worker="dead@here")
    starting = threading.Thread(target=_suppressed(whole.worker.start))
    starting.start()

    eventually(lambda: whole.store.get(job_id).state is JobState.QUEUED)
    eventually(lambda: whole.says(lambda it: NotFetching.STARTING in it.not_fetching))

    whole.worker.stop()
    starting.join(60.0)


def test_files_that_the_storage_did_not_take_are_published_when_it_is_back(whole: WholeWorker) -> None:
    whole.begin()
    job_id = whole.submit()
    whole.storage.broken = StorageUnavailable("folder", "unplugged")
    assert whole.work_on(job_id) == "queued"

    whole.storage.broken = None

    eventually(lambda: whole.store.get(job_id).state is JobState.SUCCEEDED)


def test_a_storage_that_refuses_this_worker_ends_the_start(whole: WholeWorker) -> None:
    whole.storage.broken = StorageDenied("folder", "wrong secret")

    with pytest.raises(StorageDenied):
        whole.worker.start()

    assert whole.status is None


def test_a_worker_starts_while_the_storage_is_away_and_publishes_when_it_is_back(whole: WholeWorker) -> None:
    whole.storage.broken = StorageUnavailable("folder", "unplugged")

    whole.begin()

    eventually(lambda: whole.says(lambda it: it.storage.trouble is not None))
    job_id = whole.submit()
    assert whole.work_on(job_id) == "queued"
    eventually(lambda: whole.says(lambda it: it.storage.jobs_waiting == 1))
    whole.storage.broken = None
    eventually(lambda: whole.store.get(job_id).state is JobState.SUCCEEDED)
    eventually(lambda: whole.says(lambda it: it.storage.trouble is None))


def test_the_right_to_finished_files_is_renewed_before_all_else_when_their_worker_starts(
    emulator_thread: EmulatorThread, tmp_path: Path
) -> None:
    before = WholeWorker(emulator_thread, tmp_path)
    before.begin()
    before.storage.broken = StorageUnavailable("folder", "unplugged")
    job_id = before.submit()
    assert before.work_on(job_id) == "queued"
    before.worker.stop()
    again, asked = WholeWorker(emulator_thread, tmp_path), list[str]()
    again.storage.broken = before.storage.broken
    for name in ("keep_on_hold", "ping", "sweep", "acquire", "drain_of", "put_worker"):
        _note_calls(again.store, name, asked)

    again.worker.start()
    again.worker.stop()

    assert asked[0] == "keep_on_hold"
    assert "put_worker" in asked


def test_a_worker_says_at_its_start_how_durable_jobs_are(
    whole: WholeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        whole.begin()

    told = [each.__dict__ for each in caplog.records if each.__dict__.get("event") == "redis_durability"]
    assert [(each["durability"], each["loses"]) for each in told] == [("none", Durability.NONE.loses)]


def test_a_worker_that_stops_takes_its_status_back_and_lets_go_of_everything(
    whole: WholeWorker, emulator_thread: EmulatorThread, tmp_path: Path
) -> None:
    whole.begin()

    whole.worker.stop()
    whole.worker.stop()

    assert whole.status is None
    assert whole.closed == whole.opened > 0
    again = WholeWorker(emulator_thread, tmp_path)
    again.worker.stop()


def test_two_workers_do_not_share_a_folder(
    whole: WholeWorker, emulator_thread: EmulatorThread, tmp_path: Path
) -> None:
    leftover = tmp_path / "worker" / "scratch" / "of the first"
    leftover.mkdir(parents=True)

    with pytest.raises(InUse):
        WholeWorker(emulator_thread, tmp_path)

    assert leftover.exists()


def test_a_worker_is_built_without_asking_redis_or_the_storage(
    emulator_thread: EmulatorThread, tmp_path: Path
) -> None:
    nobody = settings_here(
        tmp_path, emulator_thread.url, redis=RedisSettings.read(url="redis://127.0.0.1:1/0")
    )

    worker = build(nobody, name=NAME, gate=Gate(), line=SilentLine(), show=lambda _job_id, _told: None)

    assert worker.vram_gib == 24
    with pytest.raises(FarmError):
        worker.start()
    worker.stop()


def _note_calls(store: object, name: str, asked: list[str]) -> None:
    call = getattr(store, name)

    def noted(*args: object, **given: object) -> object:
        asked.append(name)
        return call(*args, **given)

    vars(store)[name] = noted  # what all connections of the worker share


def _suppressed(act: Callable[[], None]) -> Callable[[], None]:
    """The same, whose failure is expected: its worker is stopped meanwhile."""

    def quietly() -> None:
        try:
            act()
        except Exception:
            return

    return quietly
