"""Host memory is what the container may have, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from worker.plan.host import disk_space, host_memory, rss_bytes

GIB = 2**30


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def test_without_cgroups_it_is_the_machines_memory(tmp_path: Path) -> None:
    memory = host_memory(root=tmp_path)

    assert memory.total_bytes == psutil.virtual_memory().total
    assert not memory.limited


def test_a_version_2_limit_counts_and_idle_file_pages_are_free(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": 2 * GIB,
            "sys/fs/cgroup/memory.current": GIB + 500,
            "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file 7",
        },
    )

    memory = host_memory(root=tmp_path)

    assert memory.total_bytes == 2 * GIB
    assert memory.available_bytes == 2 * GIB - 500
    assert memory.limited


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pod/container",
            "sys/fs/cgroup/pod/container/memory.max": "max",
            "sys/fs/cgroup/pod/memory.max": GIB,
            "sys/fs/cgroup/memory.max": 3 * GIB,
        },
    )

    assert host_memory(root=tmp_path).total_bytes == GIB


@pytest.mark.parametrize("path", ["/docker/0123", "/"])
def test_a_version_1_limit_counts_also_where_the_hosts_path_is_not_mounted(tmp_path: Path, path: str) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": f"8:pids:/x\n4:cpu,memory:{path}\n1:name=systemd:/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": GIB,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": GIB // 2,
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 1024",
        },
    )

    memory = host_memory(root=tmp_path)

    assert memory.total_bytes == GIB
    assert memory.available_bytes == GIB - GIB // 2 + 1024


@pytest.mark.parametrize("unlimited", [9223372036854771712, 2**50])
def test_a_limit_beyond_the_machine_is_none(tmp_path: Path, unlimited: int) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited,
        },
    )

    assert not host_memory(root=tmp_path).limited


def test_this_machine_can_be_read() -> None:
    memory = host_memory()

    assert 0 < memory.available_bytes <= memory.total_bytes


def test_the_disk_of_a_folder_that_is_yet_to_be_made_is_known(tmp_path: Path) -> None:
    assert 0 < disk_space(tmp_path / "a" / "b").free_bytes <= disk_space(tmp_path).total_bytes


def test_a_process_holds_memory_until_it_is_gone() -> None:
    assert (rss_bytes(os.getpid()) or 0) > 1_000_000
    assert rss_bytes(2**22 + 1) is None
