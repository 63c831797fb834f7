"""A worker whose disk is full fetches nothing, and fetches again once there is room."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from farm.job import ErrorKind, JobError
from farm.status.not_fetching import NotFetching
from tests.support.valkey import eventually
from worker.fetching.gate import Gate
from worker.service.disk import DiskWatch
from worker.service.health import Health

MIB = 2**20
TERABYTE = 10**6  # in MiB
WORK, TEMPORARY = Path("/work-folder"), Path("/temporary-folder")


class Disks:
    """What `statvfs` says of the two."""

    def __init__(self) -> None:
        self.figures = {WORK: (500_000, TERABYTE), TEMPORARY: (500_000, TERABYTE)}  # free and all, in MiB
        self.files = (10**6, 10**6)

    def statvfs(self, folder: str | Path) -> SimpleNamespace:
        free, total = self.figures[Path(folder)]
        left, files = self.files
        return SimpleNamespace(f_bavail=free, f_blocks=total, f_frsize=MIB, f_favail=left, f_files=files)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Disks:
    found = Disks()
    monkeypatch.setattr(os, "statvfs", found.statvfs)
    return found


@pytest.fixture
def gate() -> Gate:
    opened = Gate()
    opened.open(NotFetching.STARTING)
    return opened


def a_watch(gate: Gate, on_change: Callable[[], None] = lambda: None) -> DiskWatch:
    return DiskWatch(gate, {"work": WORK, "temporary files": TEMPORARY}, on_change=on_change, every_s=0.01)


@pytest.mark.parametrize(
    ("free", "total", "full"),
    [
        (0, TERABYTE, True),
        (511, TERABYTE, True),
        (512, TERABYTE, False),
        (3, 64, True),
        (4, 64, False),
        (0, 0, False),  # a file system that has no figures
    ],
)
@pytest.mark.parametrize("folder", [WORK, TEMPORARY])
def test_room_is_what_the_disk_says(
    disks: Disks, gate: Gate, folder: Path, free: int, total: int, full: bool
) -> None:
    disks.figures[folder] = (free, total)
    watch = a_watch(gate)

    assert watch.is_full() is full

    assert gate.closed_for == ({NotFetching.DISK_FULL} if full else set())
    assert (watch.trouble is not None) is full


def test_a_disk_that_takes_no_more_files_is_full(disks: Disks, gate: Gate) -> None:
    disks.files = (9, 10**6)
    watch = a_watch(gate)

    assert watch.is_full()
    assert watch.trouble == "the disk takes no more files (work): 9 of 1000000 are left"


def test_it_fetches_again_by_itself_when_there_is_room_and_tells_both_once(
    disks: Disks, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    changes: list[bool] = []
    watch = a_watch(gate, lambda: changes.append(bool(gate.closed_for)))
    disks.figures[WORK] = (1, TERABYTE)
    watch.start()
    eventually(lambda: gate.closed_for == {NotFetching.DISK_FULL}, within_s=30)
    disks.figures[WORK] = (2, TERABYTE)

    disks.figures[WORK] = (600, TERABYTE)

    eventually(lambda: not gate.closed_for, within_s=30)
    watch.stop()
    assert changes == [True, False]
    assert [record.__dict__["event"] for record in caplog.records] == ["disk_full", "disk_has_room"]


def a_health(gate: Gate, watch: DiskWatch) -> Health:
    return Health(
        gate,
        None,  # type: ignore[arg-type]  # no probe comes so soon
        first_probe_s=3600,
        card_trouble=lambda: None,
        briefs=lambda _job_ids: {},
        judged_elsewhere=tuple,
        disk_is_full=watch.is_full,
        on_change=lambda: None,
    )


DISK_FULL = JobError(kind=ErrorKind.MACHINE, code="disk_full", message="[Errno 28] No space left on device")


def test_jobs_that_fail_on_a_full_disk_do_not_take_the_worker_out_of_service(
    disks: Disks, gate: Gate
) -> None:
    watch = a_watch(gate)
    health = a_health(gate, watch)
    disks.figures[WORK] = (0, TERABYTE)
    for number in range(5):
        health.failed(f"job{number}", DISK_FULL)
    assert gate.closed_for == {NotFetching.DISK_FULL}

    disks.figures[WORK] = (600, TERABYTE)
    watch.is_full()

    assert gate.closed_for == frozenset()
    assert health.quarantine.failure is None


def test_no_space_that_the_disks_do_not_confirm_is_a_machine_failure_like_another(
    disks: Disks, gate: Gate
) -> None:
    health = a_health(gate, a_watch(gate))

    health.failed("job1", DISK_FULL)
    health.failed("job2", DISK_FULL)

    assert gate.closed_for == {NotFetching.QUARANTINE}
