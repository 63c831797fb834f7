"""Keeps a worker whose disk is full from fetching, until there is room: by the disk's own figures."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from farm.status.not_fetching import NotFetching
from worker.fetching.gate import Gate

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
# Less than this, and less than a twentieth of a small disk, is no room for a job: a clip with its frames.
ROOM_BYTES: Final = 512 * 2**20
ROOM_FILES: Final = 1000


def written_folders(data_dir: Path) -> dict[str, Path]:
    """Where jobs write on this machine, by what people call it."""
    return {"work": data_dir, "temporary files": Path(tempfile.gettempdir())}


class DiskWatch:
    """A thread that asks the disks. A job that ran out of space need not fail to find it out."""

    def __init__(
        self,
        gate: Gate,
        folders: Mapping[str, Path],
        *,
        on_change: Callable[[], None],
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Prepare; `start` runs it.

        Args:
            folders: what for -> where, of each disk that has to have room.
            on_change: called when there is no room any more, or room again.
        """
        self._gate = gate
        self._folders = dict(folders)
        self._on_change = on_change
        self._every_s = every_s
        self._trouble: str | None = None
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    @property
    def trouble(self) -> str | None:
        """Which disk has no room, for a person; None while all have."""
        return self._trouble

    def start(self) -> None:
        """Look now, and every second from then on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join(timeout=self._every_s)

    def is_full(self) -> bool:
        """Whether one of the disks has no room, looked at now."""
        with self._looking:
            before, found = self._trouble, [self._lack(what) for what in self._folders]
            self._trouble = next((lack for lack in found if lack is not None), None)
            if self._trouble is None:
                self._gate.open(NotFetching.DISK_FULL)
            else:
                self._gate.close(NotFetching.DISK_FULL)
        if (before is None) is not (self._trouble is None):
            self._tell()
        return self._trouble is not None

    def _lack(self, what: str) -> str | None:
        """What is missing on the disk with this folder; a disk that cannot be asked is not judged."""
        try:
            found = os.statvfs(self._folders[what])
        except OSError:
            return None
        free_bytes, total_bytes = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        if free_bytes < min(total_bytes / 20, ROOM_BYTES):
            return f"the disk is full ({what}): {free_bytes // 2**20} of {total_bytes // 2**20} MiB are free"
        if found.f_favail < min(found.f_files / 20, ROOM_FILES):
            return f"the disk takes no more files ({what}): {found.f_favail} of {found.f_files} are left"
        return None

    def _tell(self) -> None:
        if self._trouble is not None:
            log.error("The disk is full", extra={"event": "disk_full", "reason": self._trouble})
        else:
            log.warning("The disk has room again", extra={"event": "disk_has_room"})
        self._on_change()

    def _run(self) -> None:
        while True:
            try:
                self.is_full()
            except Exception:
                log.exception("Looking at the disk failed", extra={"event": "disk_look_failed"})
            if self._stopping.wait(self._every_s):
                return
