"""Locks between processes of one machine: a folder or a card has one worker at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Final, Self

from worker.errors import FolderUnusable, InUse

log = logging.getLogger(__name__)

_NO_LOCKS_HERE: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS})


class HeldLock:
    """A lock that is ours until `release`, or until this process ends, however it ends."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, what: str, holder: str, advice: str, for_all: bool = False) -> Self:
        """Take the lock, and write `holder` into it for whoever comes next.

        Args:
            for_all: other users of the machine may ask for it too.

        Raises:
            InUse: somebody has it; the error names them.
            FolderUnusable: the file cannot be written.
        """
        descriptor = _open(path, 0o666 if for_all else 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            there = _holder(descriptor)
            os.close(descriptor)
            raise InUse(what, there, advice) from exc
        except OSError as exc:
            if exc.errno not in _NO_LOCKS_HERE:
                os.close(descriptor)
                raise FolderUnusable(path.parent, exc.strerror or str(exc)) from exc
            log.warning(
                "The file system has no locks: nobody is kept out",
                extra={"event": "no_file_locks", "path": str(path)},
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"holder": holder, "pid": os.getpid()}).encode(), 0)
        return cls(descriptor, path)

    def release(self) -> None:
        """Give it back; the file stays, since removing it would let two into the next one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def gpu_lock_path(uuid: str) -> Path:
    """The file that stands for a card; the same for all users of the machine."""
    return Path(tempfile.gettempdir()) / f"wan-farm-{uuid}.lock"


def _open(path: Path, mode: int) -> int:
    try:
        with contextlib.suppress(FileNotFoundError):
            # Without O_CREAT: in a sticky folder the kernel refuses it for another user's file.
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, mode)  # the umask must not keep other users from asking
    except OSError as exc:
        raise FolderUnusable(path.parent, exc.strerror or str(exc)) from exc
    return descriptor


def _holder(descriptor: int) -> str:
    try:
        known = json.loads(os.pread(descriptor, 4096, 0))
        return f"{known['holder']} (process {known['pid']})"
    except (ValueError, KeyError, TypeError):
        return "another worker"
