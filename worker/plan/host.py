"""What the machine gives to this worker besides the card: memory, disk, and what a process takes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

_NO_LIMIT_BYTES: Final = 2**60  # cgroup v1 writes "no limit" as the largest multiple of a page


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Host RAM, as much of it as this process may have."""

    total_bytes: int
    available_bytes: int  # before the kernel's out-of-memory killer, or the container's, acts
    limited: bool  # by a cgroup: the machine itself has more


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """The file system that holds a folder."""

    total_bytes: int
    free_bytes: int  # for an ordinary user


def host_memory(*, root: Path = Path("/")) -> HostMemory:
    """Host RAM within the limit of the cgroup that this process is in, or of any above it."""
    host = psutil.virtual_memory()
    total, available = host.total, host.available
    limited = False
    for limit, used in _limits(root):
        if limit < host.total:
            limited = True
            total = min(total, limit)
            available = min(available, max(limit - used, 0))
    return HostMemory(total_bytes=total, available_bytes=available, limited=limited)


def disk_space(folder: Path) -> DiskSpace:
    """Space where `folder` is, or will be once it is made."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    usage = shutil.disk_usage(existing)
    return DiskSpace(total_bytes=usage.total, free_bytes=usage.free)


def rss_bytes(pid: int) -> int | None:
    """Host RAM that a process holds; None when there is no such process."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and present use, in bytes, of each memory cgroup that this process counts against."""
    try:
        rows = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for row in rows:
        _, controllers, path = row.split(":", 2)
        if controllers == "":
            yield from _walk(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            yield from _walk(
                root / "sys/fs/cgroup/memory",
                path,
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )


def _walk(mount: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[tuple[int, int]]:
    # In a container the path may be the host's, which is not mounted here: then the mount itself is ours.
    relative = PurePosixPath(path.lstrip("/"))
    for part in (relative, *relative.parents):
        folder = mount / part
        limit_bytes = _number(folder / limit)
        if limit_bytes is None or limit_bytes >= _NO_LIMIT_BYTES:
            continue
        used_bytes = _number(folder / usage) or 0
        # File pages that nobody uses are given back before anything is killed.
        yield limit_bytes, max(used_bytes - _statistic(folder / "memory.stat", cache), 0)


def _number(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # "max" is no number, and no limit
        return int(path.read_text())
    return None


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for row in path.read_text().splitlines():
            key, _, value = row.partition(" ")
            if key == name:
                return int(value)
    return 0
