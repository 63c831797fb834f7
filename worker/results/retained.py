"""Finished files that the storage did not take: retained on this disk until it does, across restarts too."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from farm.job import JobSpec
from farm.storage.base import sha256_of
from farm.storage.keys import safe_name
from farm.store.base import Claim
from farm.store.codec import spec_digest, spec_digests
from worker.results.publish import LocalOutput
from worker.results.rendered import Rendered

log = logging.getLogger(__name__)

_NOTE: Final = "kept.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedFile:
    """A finished file, as it was when it was put away."""

    name: str  # within the job's folder
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedRender:
    """What an attempt has rendered, and all that its manifest needs."""

    job_id: str
    attempt: int  # that rendered it
    spec_digest: str
    retained_at: Annotated[float, Field(alias="kept_at")]  # s since the epoch, by the store's clock
    files: tuple[RetainedFile, ...]  # one for each output of `rendered`
    rendered: Rendered
    worker: dict[str, Any]  # what the worker said of itself then
    token: str = ""  # of the claim, and the folder's name; an older worker called it by the job's id

    @property
    def size_bytes(self) -> int:
        """What the files take on the disk."""
        return sum(file.size_bytes for file in self.files)


_RETAINED: Final = TypeAdapter(RetainedRender)


class RetainedRenders:
    """A folder of finished files, one below it for each attempt. Safe to use from several threads."""

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        """Find what an earlier process of this worker has left there."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._retained: dict[str, RetainedRender] = {}  # by token
        for each in folder.iterdir() if folder.is_dir() else ():
            retained = _read(each)
            if retained is None:
                shutil.rmtree(each, ignore_errors=True)  # its worker died while it was put away
            else:
                self._retained[retained.token] = retained

    def keep(self, claim: Claim, rendered: Rendered, worker: Mapping[str, Any], *, now_s: float) -> bool:
        """Put an attempt's files away; they are not where they were afterwards. False: there is no room.

        What is put away already for the job stays as it is: one render is enough. `now_s` is the time by the
        store's clock: files outlive a worker whose own clock is put right.
        """
        with self._lock:
            if self._of(claim.job_id) is not None:
                return True
            if self._size_bytes() + _size_of(rendered) > self._limit_bytes:
                return False
            folder = self._folder / claim.token
            try:
                retained = _put_away(folder, claim, rendered, worker, now_s)
            except OSError as exc:
                log.warning(
                    "Files could not be retained", extra={"event": "not_retained", "reason": str(exc)}
                )
                shutil.rmtree(folder, ignore_errors=True)
                return False
            self._retained[claim.token] = retained
        log.warning(
            "The storage does not take the files; they wait on this disk",
            extra={"event": "files_retained", "job_id": claim.job_id, "size_bytes": retained.size_bytes},
        )
        return True

    def find(self, job_id: str, spec: JobSpec | None = None) -> RetainedRender | None:
        """What waits for a job, if its files are whole, and made for just this spec; else it is dropped."""
        with self._lock:
            retained = self._of(job_id)
        if retained is None:
            return None
        if (spec is None or retained.spec_digest in spec_digests(spec)) and self._is_whole(retained):
            return retained
        log.warning("Retained files cannot be used", extra={"event": "retained_unusable", "job_id": job_id})
        self.forget(retained.token)
        return None

    def forget(self, token: str) -> None:
        """Remove the files of one attempt; nobody waits for them any more."""
        with self._lock:
            if self._retained.pop(token, None) is not None:
                shutil.rmtree(self._folder / token, ignore_errors=True)

    def all(self) -> list[RetainedRender]:
        """What waits, oldest first."""
        with self._lock:
            return sorted(self._retained.values(), key=lambda retained: retained.retained_at)

    @property
    def full(self) -> bool:
        """Whether half of the room is taken: what is being rendered must find some too."""
        with self._lock:
            return 2 * self._size_bytes() >= self._limit_bytes

    def _of(self, job_id: str) -> RetainedRender | None:
        return next((retained for retained in self._retained.values() if retained.job_id == job_id), None)

    def _size_bytes(self) -> int:
        return sum(retained.size_bytes for retained in self._retained.values())

    def _is_whole(self, retained: RetainedRender) -> bool:
        folder = self._folder / retained.token
        try:
            return all(
                (folder / file.name).stat().st_size == file.size_bytes
                and sha256_of(folder / file.name) == file.sha256
                for file in retained.files
            )
        except OSError:
            return False


def _put_away(
    folder: Path, claim: Claim, rendered: Rendered, worker: Mapping[str, Any], now_s: float
) -> RetainedRender:
    folder.mkdir(parents=True)
    files, outputs = [], []
    for number, output in enumerate(rendered.outputs):
        path = folder / f"{number}-{safe_name(output.filename)}"
        shutil.move(output.path, path)
        files.append(RetainedFile(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path)))
        outputs.append(LocalOutput(path=path, node_id=output.node_id, filename=output.filename))
    retained = RetainedRender(
        job_id=claim.job_id,
        attempt=claim.attempt,
        token=claim.token,
        spec_digest=spec_digest(claim.spec),
        retained_at=now_s,
        files=tuple(files),
        rendered=replace(rendered, outputs=tuple(outputs)),
        worker=dict(worker),
    )
    # Last, and at once: a folder without it is a leftover.
    part = folder / f"{_NOTE}.part"
    part.write_bytes(_RETAINED.dump_json(retained, by_alias=True))
    part.replace(folder / _NOTE)
    return retained


def _read(folder: Path) -> RetainedRender | None:
    try:
        return replace(_RETAINED.validate_json((folder / _NOTE).read_bytes()), token=folder.name)
    except (OSError, ValidationError):
        return None


def _size_of(rendered: Rendered) -> int:
    return sum(output.path.stat().st_size for output in rendered.outputs)
