"""What is rendered once is not rendered again: over lost leases, silent storages, drains and new starts.

A real Valkey and a real S3 server, each behind a network that a test may break.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from farm.errors import StorageDenied
from farm.job import JobState
from farm.settings.redis import RedisSettings
from farm.storage import S3Patience, S3Storage
from farm.store.base import Refused, StoreLimits
from farm.store.redis.store import RedisJobStore, connect
from farm.store.roles import JobStore
from farm.testing import PlainNotifier
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.jobs import a_job
from tests.support.s3 import S3Server
from tests.support.station import Stations
from tests.support.valkey import eventually
from worker.errors import ComfyDied
from worker.results.republish import HOLD_S

LIMITS = StoreLimits(avoid_s=0.0)
HASTY = StoreLimits(lease_s=1.0, avoid_s=0.0, notify_again_after_s=1.0)


@dataclass
class Site:
    """A farm's servers, and a worker's ways to them, which a test may break."""

    redis_url: str
    namespace: str
    redis_way: FaultProxy
    s3_way: FaultProxy
    s3: S3Server
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    opened: list[Any] = field(default_factory=list)

    def store(self, *, broken: bool = False, limits: StoreLimits = LIMITS) -> RedisJobStore:
        """The store, by a way that can break, or by one that never does."""
        url = f"redis://{self.redis_way.host}:{self.redis_way.port}/0" if broken else self.redis_url
        settings = RedisSettings.read(url=SecretStr(url), namespace=self.namespace, timeout_s=0.5)
        made = connect(settings, limits, PlainNotifier(f"{{{self.namespace}}}:q:"))
        self.opened.append(made)
        return made

    def storage(self, *, silence_s: float = 10.0) -> S3Storage:
        """The storage, by the way that can break."""
        settings = self.s3.settings(endpoint_url=self.s3_way.url, prefix=self.prefix)
        return S3Storage(settings, patience=S3Patience(connect_s=2.0, silence_s=silence_s, attempts=2))


@pytest.fixture
def site(valkey_url: str, namespace: str, s3_server: S3Server) -> Iterator[Site]:
    host, port = valkey_url.removeprefix("redis://").partition("/")[0].split(":")
    with FaultProxy(host, int(port)) as redis_way, FaultProxy(s3_server.host, s3_server.port) as s3_way:
        made = Site(valkey_url, namespace, redis_way, s3_way, s3_server)
        yield made
        for way in (redis_way, s3_way):
            way.mode = Mode.PASS
            way.reset_all()  # ends what still waits in a request
        for store in made.opened:
            store.close()


def submit(store: JobStore, count: int = 1, **fields: Any) -> list[str]:
    return [each.job_id for each in store.submit([a_job(**fields) for _ in range(count)])]


class CutOff(S3Storage):
    """A storage whose worker is cut off from Redis, in the midst of an upload, until its lease is lost."""

    before_put: Callable[[], None] = staticmethod(lambda: None)

    def put_bytes(self, data: bytes, key: str, *, media_type: str) -> Any:
        self.before_put()
        return super().put_bytes(data, key, media_type=media_type)


def test_an_attempt_that_lost_its_lease_while_publishing_is_not_rendered_again_by_the_same_worker(
    site: Site, stations: Stations, tmp_path: Path
) -> None:
    store = site.store(limits=HASTY)
    (job_id,) = submit(store, max_attempts=1)
    storage = CutOff(site.s3.settings(prefix=site.prefix))
    worker = stations("w1", tmp_path, site.store(broken=True, limits=HASTY), storage, lease_s=HASTY.lease_s)
    silences = 4  # one more lost lease than makes a job poison

    def fall_silent() -> None:
        nonlocal silences
        if silences == 0 or store.get(job_id).state is not JobState.RUNNING:
            return
        silences -= 1
        site.redis_way.mode = Mode.BLACKHOLE
        eventually(lambda: store.sweep() and store.get(job_id).state is JobState.QUEUED)
        site.redis_way.mode = Mode.PASS
        site.redis_way.reset_all()

    storage.before_put = fall_silent

    outcomes = []
    while not store.get(job_id).state.final:
        outcomes.append(worker.take(job_id).result(30))

    assert (outcomes, silences) == (["lost"] * 4 + ["succeeded"], 0)
    record = store.get(job_id)
    assert (record.state, record.attempts_lost, record.attempts_failed) == (JobState.SUCCEEDED, 4, 0)
    assert worker.renders == [job_id]


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACKHOLE])
def test_a_worker_that_is_ended_while_the_storage_is_away_keeps_its_files_and_its_right_to_them(
    site: Site, stations: Stations, tmp_path: Path, mode: Mode
) -> None:
    store = site.store()
    jobs = submit(store, 3)
    site.s3_way.mode = mode
    worker = stations("w1", tmp_path, store, site.storage(silence_s=60.0))
    attempts = []
    for job_id in jobs:
        attempts.append(worker.take(job_id))
        eventually(lambda job_id=job_id: job_id in worker.renders and not worker.gate.rendering)  # type: ignore[misc]

    began = time.monotonic()
    worker.draining.end(grace_s=5.0)
    for attempt in attempts:
        attempt.result(60)
    assert time.monotonic() - began < 50
    worker.close()

    assert sorted(each.job_id for each in worker.retained.all()) == sorted(jobs)
    for job_id in jobs:
        assert store.claim(job_id, worker="another") is Refused.NOT_YET
    site.s3_way.mode = Mode.PASS
    again = stations("w1", tmp_path, store, site.storage())
    again.republisher.start()
    eventually(lambda: all(store.get(job_id).state is JobState.SUCCEEDED for job_id in jobs))
    assert (sorted(worker.renders), again.renders) == (sorted(jobs), [])


def test_a_silent_storage_never_stops_the_gpu_and_the_status_says_what_waits(
    site: Site, stations: Stations, tmp_path: Path
) -> None:
    store = site.store()
    jobs = submit(store, 10)
    site.s3_way.mode = Mode.BLACKHOLE
    worker = stations("w1", tmp_path, store, site.storage(silence_s=60.0))

    began = time.monotonic()
    for job_id in jobs:
        eventually(lambda: worker.gate.may_fetch(reserved=0))
        worker.take(job_id)
        eventually(lambda job_id=job_id: job_id in worker.renders)  # type: ignore[misc]
    assert time.monotonic() - began < 50  # a request alone is waited for for a minute

    eventually(lambda: worker.storage.status().jobs_waiting == 10 - 3)
    assert worker.storage.sentence is not None
    assert "finished files of 7 jobs wait" in worker.storage.sentence
    assert worker.gate.closed_for == frozenset()


def test_the_storage_troubles_of_one_worker_close_its_own_gate_until_they_are_over(
    site: Site, stations: Stations, tmp_path: Path
) -> None:
    store = site.store()
    healthy = stations("w2", tmp_path / "w2", store, S3Storage(site.s3.settings(prefix=site.prefix)))
    healthy.tell_status()
    site.s3_way.mode = Mode.REFUSE
    worker = stations("w1", tmp_path / "w1", store, site.storage(), patience_s=0.0)
    (job_id,) = submit(store)

    assert worker.take(job_id).result(30) == "queued"
    worker.republisher.start()
    eventually(lambda: not worker.gate.may_fetch(reserved=0))
    assert worker.storage.is_mine_alone

    site.s3_way.mode = Mode.PASS
    eventually(lambda: worker.gate.may_fetch(reserved=0))
    eventually(lambda: store.get(job_id).state is JobState.SUCCEEDED)
    assert worker.renders == [job_id]


def test_a_storage_that_is_away_for_all_lets_every_gpu_go_on(
    site: Site, stations: Stations, tmp_path: Path
) -> None:
    store = site.store()
    site.s3_way.mode = Mode.REFUSE
    workers = [
        stations(f"w{number}", tmp_path / str(number), store, site.storage(), patience_s=0.0)
        for number in range(2)
    ]
    for worker, job_id in zip(workers, submit(store, 2), strict=True):
        assert worker.take(job_id).result(30) == "queued"
    for worker in workers:
        worker.tell_status()

    for worker in workers:
        worker.republisher.hold()

    assert [worker.gate.may_fetch(reserved=0) for worker in workers] == [True, True]


def clock_ahead(storage: S3Storage, patch: pytest.MonkeyPatch) -> None:
    """What this one signs is of a time two hours from now; what others sign is of the right one."""
    signs = threading.local()

    def now() -> datetime:
        ahead_s = signs.__dict__.pop("ahead_s", 0.0)
        return datetime.now(UTC) + timedelta(seconds=ahead_s)

    def begin(**_: object) -> None:
        signs.ahead_s = 7200.0

    patch.setattr("botocore.auth.get_current_datetime", now)
    storage._made().client.meta.events.register("before-sign", begin)


@pytest.mark.parametrize("wrong", ["key", "clock"])
def test_what_the_storage_refuses_one_worker_is_left_to_those_that_can_store_it(
    site: Site, stations: Stations, tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = site.store()
    healthy = stations("w2", tmp_path / "w2", store, S3Storage(site.s3.settings(prefix=site.prefix)))
    healthy.tell_status()
    given = {"secret_access_key": "wrong"} if wrong == "key" else {}
    refused = S3Storage(site.s3.settings(prefix=site.prefix, **given))
    if wrong == "clock":
        clock_ahead(refused, monkeypatch)
    with pytest.raises(StorageDenied):
        refused.check()
    worker = stations("w1", tmp_path / "w1", store, refused)
    (job_id,) = submit(store)
    assert worker.take(job_id).result(30) == "queued"
    worker.republisher.start()

    eventually(lambda: not worker.gate.may_fetch(reserved=0))

    def another_has_done_it() -> bool:
        store.sweep()
        return healthy.take(job_id).result(30) == "succeeded"

    eventually(another_has_done_it, within_s=HOLD_S / 2)
    assert store.get(job_id).state is JobState.SUCCEEDED


@pytest.mark.parametrize("turn", range(10))
def test_a_signal_to_worker_and_comfyui_at_once_gives_the_job_back(
    site: Site, stations: Stations, tmp_path: Path, turn: int
) -> None:
    store = site.store()
    (job_id,) = submit(store, max_attempts=1)
    worker = stations("w1", tmp_path, store, S3Storage(site.s3.settings(prefix=site.prefix)))

    def end_with_the_worker(_claim: Any) -> None:
        # ComfyUI is gone first, and this process hears of it up to a second later, or before.
        threading.Timer(turn * 0.1, worker.draining.end, (20.0,)).start()
        if turn == 0:
            eventually(lambda: worker.draining.ends_within(0))
        raise ComfyDied(-15)

    worker.before_render = end_with_the_worker

    assert worker.take(job_id).result(30) == "given back"
    record = store.get(job_id)
    assert (record.state, record.attempts_failed) == (JobState.QUEUED, 0)
    assert [note.outcome for note in record.attempts] == ["released"]


def test_files_that_waited_are_published_although_every_publisher_is_busy(
    site: Site, stations: Stations, tmp_path: Path
) -> None:
    store = site.store()
    jobs = submit(store, 5)
    site.s3_way.mode = Mode.BLACKHOLE
    worker = stations("w1", tmp_path, store, site.storage(silence_s=60.0), publish_slots=1)
    for job_id in jobs[:3]:
        eventually(lambda: worker.gate.may_fetch(reserved=0))
        worker.take(job_id)
        eventually(lambda job_id=job_id: job_id in worker.renders)  # type: ignore[misc]
    eventually(lambda: worker.storage.status().jobs_waiting == 2)
    eventually(lambda: site.s3_way.connections)

    # Its one publisher is still in a request that nobody answers.
    site.s3_way.stall_open()
    site.s3_way.mode = Mode.PASS
    worker.republisher.start()

    eventually(lambda: worker.storage.status().jobs_waiting == 0)
    done = [job_id for job_id in jobs if store.get(job_id).state is JobState.SUCCEEDED]
    assert len(done) == 2
