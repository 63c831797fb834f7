"""What is a process's own: others cannot look into it, nor into the files that it makes."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PRIVATE_UMASK: Final = 0o077  # a folder is made 0700, a file 0600
_PR_SET_DUMPABLE: Final = 4  # Source: prctl(2); /proc/<pid>/environ and mem are root's from then on


def close_to_others() -> None:
    """Let no other process of this user read this one's memory or environment, or debug it (Linux only).

    Programs that it starts are open again: they are told what they may know.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning(
            "This process can be read by others of its user",
            extra={"event": "process_open", "errno": ctypes.get_errno()},
        )


def open_private(path: str | Path, flags: int) -> int:
    """An opener for `open`, of files that only their owner may read, whatever the umask says."""
    return os.open(path, flags, 0o600)


def forget(names: Iterable[str]) -> None:
    """Take these variables out of the environment, also out of what the system still shows of it.

    Children that are started without an environment of their own inherit ours, and a report on a crash
    prints it.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    for name in names:
        value = os.environ.get(name)
        if value is None:
            continue
        place, said = getenv(os.fsencode(name)), os.fsencode(value)
        # Where it lies since the start of the process, and whence /proc/<pid>/environ is read.
        if place is not None and ctypes.string_at(place) == said:
            ctypes.memset(place, 0, len(said))
        del os.environ[name]
