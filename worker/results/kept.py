"""Finished files that the storage did not take: kept on this disk until it does, across restarts too."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from farm.job import JobSpec
from farm.storage.base import sha256_of
from farm.storage.keys import safe_name
from farm.store.base import Claim
from farm.store.codec import spec_digest
from worker.results.publish import LocalOutput
from worker.results.rendered import Rendered

log = logging.getLogger(__name__)

_NOTE: Final = "kept.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A finished file, as it was when it was put away."""

    name: str  # within the job's folder
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRender:
    """What an attempt has rendered, and all that its manifest needs."""

    job_id: str
    attempt: int  # that rendered it
    spec_digest: str
    kept_at: float  # time.time()
    files: tuple[KeptFile, ...]  # one for each output of `rendered`
    rendered: Rendered
    worker: dict[str, Any]  # what the worker said of itself then
    token: str = ""  # of the claim, and the folder's name; an older worker called it by the job's id

    @property
    def size_bytes(self) -> int:
        """What the files take on the disk."""
        return sum(file.size_bytes for file in self.files)


_KEPT: Final = TypeAdapter(KeptRender)


class KeptRenders:
    """A folder of finished files, one below it for each attempt. Safe to use from several threads."""

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        """Find what an earlier process of this worker has left there."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._kept: dict[str, KeptRender] = {}  # by token
        for each in folder.iterdir() if folder.is_dir() else ():
            kept = _read(each)
            if kept is None:
                shutil.rmtree(each, ignore_errors=True)  # its worker died while it was put away
            else:
                self._kept[kept.token] = kept

    def keep(self, claim: Claim, rendered: Rendered, worker: Mapping[str, Any]) -> bool:
        """Put an attempt's files away; they are not where they were afterwards. False: there is no room.

        What is put away already for the job stays as it is: one render is enough.
        """
        with self._lock:
            if self._of(claim.job_id) is not None:
                return True
            if self._size_bytes() + _size_of(rendered) > self._limit_bytes:
                return False
            folder = self._folder / claim.token
            try:
                kept = _put_away(folder, claim, rendered, worker)
            except OSError as exc:
                log.warning("Files not kept", extra={"event": "not_kept", "reason": str(exc)})
                shutil.rmtree(folder, ignore_errors=True)
                return False
            self._kept[claim.token] = kept
        log.warning(
            "The storage does not take the files; they wait on this disk",
            extra={"event": "files_kept", "job_id": claim.job_id, "size_bytes": kept.size_bytes},
        )
        return True

    def find(self, job_id: str, spec: JobSpec | None = None) -> KeptRender | None:
        """What waits for a job, if its files are whole, and made for just this spec; else it is dropped."""
        with self._lock:
            kept = self._of(job_id)
        if kept is None:
            return None
        if (spec is None or spec_digest(spec) == kept.spec_digest) and self._is_whole(kept):
            return kept
        log.warning("Kept files cannot be used", extra={"event": "kept_unusable", "job_id": job_id})
        self.forget(kept.token)
        return None

    def forget(self, token: str) -> None:
        """Remove the files of one attempt; nobody waits for them any more."""
        with self._lock:
            if self._kept.pop(token, None) is not None:
                shutil.rmtree(self._folder / token, ignore_errors=True)

    def all(self) -> list[KeptRender]:
        """What waits, oldest first."""
        with self._lock:
            return sorted(self._kept.values(), key=lambda kept: kept.kept_at)

    @property
    def full(self) -> bool:
        """Whether half of the room is taken: what is being rendered must find some too."""
        with self._lock:
            return 2 * self._size_bytes() >= self._limit_bytes

    def _of(self, job_id: str) -> KeptRender | None:
        return next((kept for kept in self._kept.values() if kept.job_id == job_id), None)

    def _size_bytes(self) -> int:
        return sum(kept.size_bytes for kept in self._kept.values())

    def _is_whole(self, kept: KeptRender) -> bool:
        folder = self._folder / kept.token
        try:
            return all(
                (folder / file.name).stat().st_size == file.size_bytes
                and sha256_of(folder / file.name) == file.sha256
                for file in kept.files
            )
        except OSError:
            return False


def _put_away(folder: Path, claim: Claim, rendered: Rendered, worker: Mapping[str, Any]) -> KeptRender:
    folder.mkdir(parents=True)
    files, outputs = [], []
    for number, output in enumerate(rendered.outputs):
        path = folder / f"{number}-{safe_name(output.filename)}"
        shutil.move(output.path, path)
        files.append(KeptFile(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path)))
        outputs.append(LocalOutput(path=path, node_id=output.node_id, filename=output.filename))
    kept = KeptRender(
        job_id=claim.job_id,
        attempt=claim.attempt,
        token=claim.token,
        spec_digest=spec_digest(claim.spec),
        kept_at=time.time(),
        files=tuple(files),
        rendered=replace(rendered, outputs=tuple(outputs)),
        worker=dict(worker),
    )
    # Last, and at once: a folder without it is a leftover.
    part = folder / f"{_NOTE}.part"
    part.write_bytes(_KEPT.dump_json(kept))
    part.replace(folder / _NOTE)
    return kept


def _read(folder: Path) -> KeptRender | None:
    try:
        return replace(_KEPT.validate_json((folder / _NOTE).read_bytes()), token=folder.name)
    except (OSError, ValidationError):
        return None


def _size_of(rendered: Rendered) -> int:
    return sum(output.path.stat().st_size for output in rendered.outputs)
