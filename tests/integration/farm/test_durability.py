"""What each setting of Redis keeps when its machine loses its power, held against the real server."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.errors import JobNotFound, NotDurable, StoreMisconfigured, StoreUnavailable
from farm.job import JobState
from farm.settings.redis import RedisSettings
from farm.store.base import LeaseAnswer, StoreLimits
from farm.store.redis.safety import Durability
from farm.store.redis.server import check_server
from farm.store.redis.store import RedisJobStore, connect
from farm.testing import PlainNotifier
from tests.chaos.nodes import Disk
from tests.support.jobs import a_job, a_result, claimed
from tests.support.power import PoweredValkey, can_lose_power
from tests.support.valkey import ValkeyServer, eventually

needs_a_compiler = pytest.mark.skipif(not can_lose_power(), reason="no C compiler")
NOTIFIER = PlainNotifier("{farm}:q:")


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Callable[[str], PoweredValkey]]:
    made: list[PoweredValkey] = []

    def start(fsync: str) -> PoweredValkey:
        made.append(PoweredValkey(tmp_path, "--appendonly", "yes", "--appendfsync", fsync))
        made[0].start()
        return made[0]

    yield start
    for server in made:
        server.kill()


def open_store(server: ValkeyServer, durable: str = "server") -> RedisJobStore:
    return connect(RedisSettings.read(url=server.url, durable=durable), StoreLimits(), NOTIFIER)


def kept(store: RedisJobStore, job_ids: list[str]) -> int:
    found = 0
    for job_id in job_ids:
        with contextlib.suppress(JobNotFound):
            found += store.get(job_id).state is JobState.QUEUED
    return found


def submit(store: RedisJobStore, count: int) -> list[str]:
    return [store.submit([a_job()])[0].job_id for _ in range(count)]


@needs_a_compiler
def test_under_always_every_accepted_job_outlives_a_power_cut(power: Callable[[str], PoweredValkey]) -> None:
    server = power("always")
    store = open_store(server)
    accepted = submit(store, 15)

    server.lose_power()
    server.start()

    assert kept(store, accepted) == 15
    assert store.ping()["durability"] is Durability.SYNCHRONOUS


@needs_a_compiler
def test_under_everysec_a_power_cut_takes_what_was_accepted_last(
    power: Callable[[str], PoweredValkey],
) -> None:
    server = power("everysec")
    store = open_store(server)
    assert store.ping()["durability"] is Durability.SECONDS
    until = time.monotonic() + 60.0
    accepted = submit(store, 1)

    # Just after a sync there is nothing to lose.
    while not server.unsynced_bytes() and time.monotonic() < until:
        accepted += submit(store, 1)
    server.lose_power()
    server.start()

    assert kept(store, accepted) < len(accepted)


@needs_a_compiler
def test_under_everysec_what_waited_for_the_file_outlives_a_power_cut(
    power: Callable[[str], PoweredValkey],
) -> None:
    server = power("everysec")
    store = open_store(server, "fsync")
    assert store.ping()["durability"] is Durability.SYNCHRONOUS

    # The power goes at whatever moment of the server's second the answer comes.
    for count in range(1, 3):
        one, *_ = [each.job_id for each in store.submit([a_job() for _ in range(50)])]
        claim = claimed(store, one)
        # Nothing is written afterwards that could bring it to the disk by chance.
        assert store.succeed(one, claim.attempt, a_result(), token=claim.token) is LeaseAnswer.OK
        server.lose_power()
        server.start()

        assert store.counts().by_state[JobState.SUCCEEDED] == count
        assert store.counts().by_state[JobState.QUEUED] == 49 * count


@needs_a_compiler
def test_the_servers_own_wait_for_its_file_answers_too_early(power: Callable[[str], PoweredValkey]) -> None:
    """Why the farm does not use it: once this fails, `await_file` can become one command."""
    server = power("everysec")
    store = open_store(server)

    for number in range(50):
        store._command("SET", "x", number)
        told = store._command("WAITAOF", 1, 0, 5000)
        if server.unsynced_bytes():
            break

    assert told == [1, 0]
    assert server.unsynced_bytes()


def test_a_batch_waits_for_the_file_once(start_valkey: Callable[..., ValkeyServer]) -> None:
    store = open_store(start_valkey("--appendonly", "yes", "--appendfsync", "everysec"), "fsync")
    began = time.monotonic()

    store.submit([a_job() for _ in range(500)])

    assert time.monotonic() - began < 60.0  # each for itself would take minutes


def test_a_file_that_is_not_written_is_told_with_the_ids_of_what_is_stored(
    start_valkey: Callable[..., ValkeyServer],
) -> None:
    store = open_store(start_valkey("--appendonly", "no"), "fsync")

    with pytest.raises(
        NotDurable, match=r"stored, not on the disk \(FARM_DURABLE\): its append-only file is off"
    ) as told:
        store.submit([a_job(idempotency_key="mine"), a_job()])

    assert [store.get(job_id).state for job_id in told.value.job_ids] == [JobState.QUEUED] * 2
    assert store.id_of_key("mine") == told.value.job_ids[0]
    assert store.ping()["durability"] is Durability.NONE
    with pytest.raises(StoreMisconfigured, match="FARM_DURABLE=fsync waits for it"):
        check_server(store.ping())


def test_a_full_disk_under_always_ends_the_server_and_takes_nothing_that_was_accepted(tmp_path: Path) -> None:
    try:
        disk = Disk(tmp_path / "disk")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk of its own takes root")
    server = ValkeyServer(tmp_path / "disk", "--appendonly", "yes", "--appendfsync", "always")
    try:
        server.start()
        store = open_store(server)
        accepted = submit(store, 5)
        disk.fill()
        with pytest.raises(StoreUnavailable):
            submit(store, 1000)
        eventually(server.has_ended)
        with pytest.raises(StoreUnavailable, match="connection refused"):
            store.counts()

        disk.clear()
        server.start()

        assert kept(store, accepted) == 5
    finally:
        server.kill()
        disk.unmount()
