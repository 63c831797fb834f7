"""A worker's own folders: held by one worker at a time, and cleared of what earlier ones left."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

from farm.process.identity import ProcessId, identify
from farm.process.user import UnixUser
from worker.comfyui.locks import HeldLock
from worker.errors import FolderUnusable
from worker.inputs.cache import INPUT_SUBFOLDER

log = logging.getLogger(__name__)

_YOUNG_S: Final = 300.0
# What the worker keeps beside these folders: what is kept for the storage, downloads, the input cache.
_PRIVATE_FOLDERS: Final = ("kept", "scratch", "inputs", "logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFolders:
    """Where ComfyUI reads and writes, all of it below one folder that is this worker's alone.

    ComfyUI since 0.28 refuses what a symbolic link leads out of its folders, so it is given real ones.
    """

    root: Path  # without symbolic links
    user_of_comfyui: UnixUser | None = None  # None: ours

    @property
    def output(self) -> Path:
        """What is to be published."""
        return (self.root / "output").resolve()

    @property
    def temp(self) -> Path:
        """Previews; ComfyUI empties it itself when it starts."""
        return self.root / "temp"  # ComfyUI appends this name itself, so a link of that name stays one

    @property
    def input(self) -> Path:
        """What `LoadImage` and the like choose from."""
        return (self.root / "input").resolve()

    @property
    def user(self) -> Path:
        """ComfyUI's settings and database."""
        return self.root / "user"

    @property
    def logs(self) -> Path:
        """Its output, in files that are rotated."""
        return self.root / "logs"

    @property
    def work(self) -> Path:
        """The working directory of the process."""
        return self.root / "work"

    def clean(self, prefix: str) -> None:
        """Remove the files of one job: all whose path begins with `prefix`.

        A file that cannot be removed is left, and said.
        """
        with self.rights_of_comfyui():
            for folder in (self.output, self.temp, self.input):
                remove_by_prefix(folder, prefix)

    def empty_temp(self) -> None:
        """Remove all previews. Their names tell of no job: between two jobs they are all the former's."""
        with self.rights_of_comfyui():
            _empty(self.temp)

    def shrink(self, limit_bytes: int) -> int:
        """Remove leftovers, oldest first, until all files take no more than that; returns what they take.

        The folders of jobs are each job's own to clean, and what is young may be in use: both stay.
        """
        with self.rights_of_comfyui():
            files = sorted(_files_of((self.output, self.temp)))
            total = sum(size for _, size, _ in files)
            young = time.time() - _YOUNG_S
            for changed, size, path in files:
                if total <= limit_bytes or changed > young:
                    break
                if self.output / "jobs" not in path.parents:
                    _remove(path)
                    total -= size
        return total

    def rights_of_comfyui(self) -> contextlib.AbstractContextManager[None]:
        """For clearing them while ComfyUI may write there: its links lead no further than itself gets."""
        return self.user_of_comfyui.rights() if self.user_of_comfyui is not None else contextlib.nullcontext()

    def remember_process(self, pid: int) -> None:
        """Note which process works here, for a worker that comes after our sudden death."""
        found = identify(pid)
        if found is not None:
            (self.root / "comfyui.pid").write_text(json.dumps(asdict(found)))


def remove_by_prefix(folder: Path, prefix: str) -> None:
    """Remove all in a folder whose path begins with `prefix`; what cannot be removed is left, and said."""
    path = PurePosixPath(prefix)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise ValueError(f"not a prefix within a folder: {prefix!r}")
    parent = folder / path.parent
    with _telling(parent):
        for found in parent.iterdir():
            if found.name.startswith(path.name):
                _remove(found)


def open_folders(
    data_dir: Path, *, holder: str, user: UnixUser | None = None
) -> tuple[WorkerFolders, HeldLock]:
    """Make the folders, empty them of leftovers, and hold them.

    Args:
        user: whom ComfyUI runs as, if that is not this process's user.

    Raises:
        InUse: another worker is at work there.
        FolderUnusable: it cannot be written, holds folders of the same names that are not a worker's, or
            cannot be reached by that user.
    """
    folders = WorkerFolders(root=data_dir.expanduser().resolve(), user_of_comfyui=user)
    lock_path = folders.root / "worker.lock"
    lock: HeldLock | None = None
    try:
        folders.root.mkdir(parents=True, exist_ok=True)
        if user is None:
            _close(folders.root)
        used_before = lock_path.exists()
        cleared = (folders.output, folders.temp, folders.input)
        if not used_before and any(folder.is_dir() and any(folder.iterdir()) for folder in cleared):
            raise FolderUnusable(
                folders.root, "it holds files in `output`, `temp` or `input` that are not a worker's"
            )
        lock = HeldLock.take(
            lock_path,
            what=f"folder {folders.root}",
            holder=holder,
            advice="give each worker its own FARM_WORKER_DIR",
        )
        _end_leftover(folders.root / "comfyui.pid")
        for folder in (*cleared, folders.work / INPUT_SUBFOLDER):
            _empty(folder)
        for folder in (*cleared, folders.user, folders.logs, folders.work):
            folder.mkdir(exist_ok=True)
        if user is not None:
            _share_with(user, folders)
    except OSError as exc:
        if lock is not None:
            lock.release()
        raise FolderUnusable(folders.root, f"{exc.strerror}: {exc.filename}") from exc
    return folders, lock


def _share_with(user: UnixUser, folders: WorkerFolders) -> None:
    """Let ComfyUI write where it must, and read nothing else.

    What the worker itself writes into (inputs) belongs to the worker, and ComfyUI can only add to it.
    """
    uid, gid = os.geteuid(), os.getegid()
    is_new_here = folders.user.stat().st_uid != user.uid
    for path in (folders.root, *folders.root.iterdir()):
        os.chown(path, uid, gid, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    for name in _PRIVATE_FOLDERS:
        (folders.root / name).mkdir(mode=0o700, exist_ok=True)
    if is_new_here:
        for path in folders.user.rglob("*"):  # of a worker before us, whose ComfyUI had no user of its own
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
    for folder in (folders.output, folders.temp, folders.user):
        _give(folder, user.uid, user.gid, 0o750)
    _give(folders.root, uid, user.gid, 0o710)
    for folder in (folders.input, folders.work):
        _give(folder, uid, user.gid, 0o1770)
        (folder / INPUT_SUBFOLDER).mkdir(exist_ok=True)
        _give(folder / INPUT_SUBFOLDER, uid, user.gid, 0o750)
    try:
        with user.rights():
            for folder in (folders.output, folders.temp, folders.input, folders.work, folders.user):
                folder.stat()
    except PermissionError as exc:
        raise PermissionError(
            exc.errno,
            f"user {user.name} (FARM_COMFY_USER) cannot get there: a folder on the way is closed to others",
            exc.filename,
        ) from exc


def _close(folder: Path) -> None:
    """Let nobody else in, also where a person or a version before has made it."""
    with contextlib.suppress(PermissionError):  # a mounted one may be another user's
        folder.chmod(0o700)


def _give(folder: Path, uid: int, gid: int, mode: int) -> None:
    os.chown(folder, uid, gid)
    folder.chmod(mode)


def _end_leftover(note: Path) -> None:
    """End the ComfyUI of a worker that is gone, should it still be there: it holds the card's memory."""
    try:
        known = ProcessId(**json.loads(note.read_text()))
        if not known.alive():
            return  # gone, or its number went to somebody else
        log.warning("Ending a leftover ComfyUI", extra={"event": "leftover_ended", "pid": known.pid})
        below = [identify(each.pid) for each in psutil.Process(known.pid).children(recursive=True)]
    except (OSError, ValueError, TypeError, psutil.Error):
        return
    for process in (*below, known):
        if process is not None:
            with contextlib.suppress(PermissionError):
                process.signal(signal.SIGKILL)
    known.wait_gone(10.0)


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        pass  # ComfyUI clears up as well
    except OSError as exc:
        log.warning(
            "A file cannot be removed",
            extra={"event": "clean_failed", "path": str(path), "reason": str(exc)},
        )


def _remove(path: Path) -> None:
    with _telling(path):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)


def _empty(folder: Path) -> None:
    with _telling(folder):
        for path in folder.iterdir():
            _remove(path)


def _files_of(folders: Iterable[Path]) -> Iterator[tuple[float, int, Path]]:
    """When a file was written last, its size in bytes, and where it is."""
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for path in (Path(parent, name) for name in names):
                with contextlib.suppress(OSError):  # gone meanwhile
                    facts = path.lstat()
                    yield facts.st_mtime, facts.st_size, path
