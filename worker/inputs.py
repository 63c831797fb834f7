"""Input files of jobs: fetched once, kept by content, put where ComfyUI's loaders find them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from comfy.outputs import MediaKind
from farm.errors import (
    BucketNotFound,
    InputUnavailable,
    ObjectDamaged,
    ObjectNotFound,
    StorageDenied,
    TransferStopped,
)
from farm.settings import WorkerSettings
from farm.storage import Storage, parse_s3_uri
from farm.storage.base import sha256_of
from worker.fetch import FetchLimits, FetchRefused, UrlFetcher
from worker.sniff import HEAD_BYTES, sniff

log = logging.getLogger(__name__)

PLACED_FOLDER: Final = "farm"  # below ComfyUI's input folder
_TIME_LIMIT_S: Final = 600.0  # for one file
# A file that a job was given lately may not have been read yet: loaders run when the graph reaches them.
_IN_USE_S: Final = 3600.0
_OURS: Final = re.compile(r"(?P<sha256>[0-9a-f]{64})(?P<suffix>\.[a-z0-9]{1,8})?")
_PART: Final = ".part"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedInput:
    """An input file on this disk."""

    path: Path
    sha256: str
    kind: MediaKind  # by its content

    @property
    def name(self) -> str:
        """Name by content, with the ending that belongs to it."""
        return self.path.name


class InputCache:
    """A folder of input files, each under its SHA-256. Safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        settings: WorkerSettings,
        *,
        allow_files: bool = False,
        fetcher: UrlFetcher | None = None,
    ) -> None:
        """Make the folder and clear what a killed worker left half-done.

        Args:
            storage: for ``s3://`` sources.
            settings: `input_cache_mib`, `input_limit_mib`, `allow_private_urls`.
            allow_files: whether ``file:`` sources are taken: only where producer and worker are one machine
                and one person.
        """
        self._folder = folder
        self._storage = storage
        self._limit_bytes = settings.input_limit_mib << 20
        self._cache_bytes = settings.input_cache_mib << 20
        self._allow_files = allow_files
        self._fetcher = fetcher or UrlFetcher(
            FetchLimits(
                size_bytes=self._limit_bytes, time_s=_TIME_LIMIT_S, allow_private=settings.allow_private_urls
            )
        )
        self._lock = threading.Lock()
        self._coming: dict[str, Future[CachedInput]] = {}
        self._placed_in: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{_PART}"):
            leftover.unlink(missing_ok=True)

    def fetch(self, source: str, *, field: str | None = None) -> CachedInput:
        """The file of a source; fetched unless it is here. Threads that want the same one wait for one fetch.

        Args:
            source: ``s3://bucket/key``, ``http(s)://…`` or, where allowed, ``file:///absolute/path``.
            field: the job's input that it is for: "node.input"; stands in errors.

        Raises:
            InputUnavailable: it cannot be had, is too large, or no picture, video or sound.
            StorageUnavailable: the storage cannot be reached; it may be later.
        """
        with self._lock:
            coming = self._coming.get(source)
            mine: Future[CachedInput] = Future()
            if coming is None:
                self._coming[source] = mine
        if coming is not None:
            return coming.result()
        try:
            found = self._here(source) or self._bring(source, field)
            mine.set_result(found)
        except BaseException as exc:
            mine.set_exception(exc)
            raise
        finally:
            with self._lock:
                del self._coming[source]
        self._evict()
        return found

    def place(self, source: str, input_folder: Path, *, field: str | None = None) -> str:
        """Put a source's file below ComfyUI's input folder and give the name that its loaders take.

        Args:
            input_folder: ComfyUI's own; the file goes into its ``farm/``.

        Raises:
            InputUnavailable, StorageUnavailable: as `fetch`.
        """
        while True:
            cached = self.fetch(source, field=field)
            target = input_folder / PLACED_FOLDER / cached.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._placed_in.add(target.parent)
                # The file may have been evicted since it was fetched: then once more.
                if cached.path.exists():
                    os.utime(cached.path)
                    _link(cached.path, target)
                    return f"{PLACED_FOLDER}/{cached.name}"

    def _here(self, source: str) -> CachedInput | None:
        """The file, if the source names its own hash (as our uploads do) and it is in the cache."""
        digest = self._own_sha256(source)
        if digest is None:
            return None
        for path in self._folder.glob(f"{digest}.*"):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                media = sniff(file.read(HEAD_BYTES))
                os.utime(path)  # used now: the least recently used goes first
                return CachedInput(path=path, sha256=digest, kind=media.kind) if media else None
        return None

    def _own_sha256(self, source: str) -> str | None:
        """The hash of what we have uploaded ourselves; such an object never changes."""
        named = _OURS.fullmatch(source.rpartition("/")[2])
        if named is None:
            return None
        key = self._storage.keys.input_key(named["sha256"], named["suffix"] or "")
        return named["sha256"] if source == f"s3://{self._storage.bucket}/{key}" else None

    def _bring(self, source: str, field: str | None) -> CachedInput:
        part = self._folder / f"{uuid.uuid4().hex}{_PART}"
        try:
            self._read_into(part, source, field)
            with part.open("rb") as file:
                head = file.read(HEAD_BYTES)
            media = sniff(head)
            if media is None:
                what = f"begins with {head[:12]!r}" if head else "is empty"
                raise _unavailable(
                    source, f"it is no picture, video or sound that is known: it {what}", field
                )
            digest = sha256_of(part)
            path = self._folder / f"{digest}{media.suffix}"
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        log.info(
            "Input fetched",
            extra={
                "event": "input_fetched",
                "source": public_source(source),
                "sha256": digest,
                "size_bytes": path.stat().st_size,
            },
        )
        return CachedInput(path=path, sha256=digest, kind=media.kind)

    def _read_into(self, part: Path, source: str, field: str | None) -> None:
        scheme = source.partition(":")[0].lower()
        readers: dict[str, Callable[[Path, str, str | None], None]] = {
            "s3": self._from_s3,
            "http": self._from_url,
            "https": self._from_url,
            "file": self._from_file,
        }
        if scheme not in readers:
            raise _unavailable(source, "only s3:, http: and https: are fetched", field)
        readers[scheme](part, source, field)

    def _from_url(self, part: Path, source: str, field: str | None) -> None:
        try:
            self._fetcher.fetch(source, part)
        except FetchRefused as exc:
            raise _unavailable(source, str(exc), field) from exc

    def _from_s3(self, part: Path, source: str, field: str | None) -> None:
        try:
            bucket, key = parse_s3_uri(source)
        except ValueError as exc:
            raise _unavailable(source, "its form is s3://bucket/key", field) from exc
        deadline = time.monotonic() + _TIME_LIMIT_S
        try:
            found = self._storage.find(key, bucket=bucket)
            self._check_size(source, found.size_bytes if found else 0, field)
            self._storage.download(
                key,
                part,
                bucket=bucket,
                sha256=self._own_sha256(source),
                stop=lambda: time.monotonic() > deadline,
            )
        except TransferStopped as exc:
            raise _unavailable(source, "it took too long", field) from exc
        except (ObjectNotFound, ObjectDamaged) as exc:
            raise _unavailable(source, str(exc), field) from exc
        except (BucketNotFound, StorageDenied) as exc:
            if bucket == self._storage.bucket:
                raise  # not the job's fault: nothing of the farm's works
            raise _unavailable(source, exc.reason, field) from exc

    def _from_file(self, part: Path, source: str, field: str | None) -> None:
        path = Path(unquote(urlsplit(source).path))
        if not self._allow_files:
            raise _unavailable(source, "files of the worker's own disk are not given out", field)
        if not path.is_absolute() or not path.is_file():
            raise _unavailable(source, "there is no such file", field)
        self._check_size(source, path.stat().st_size, field)
        shutil.copyfile(path, part)

    def _check_size(self, source: str, size_bytes: int, field: str | None) -> None:
        if size_bytes > self._limit_bytes:
            limit_mib = self._limit_bytes >> 20
            reason = f"it has {size_bytes >> 20} MiB, at most {limit_mib} are taken (FARM_INPUT_LIMIT_MIB)"
            raise _unavailable(source, reason, field)

    def _evict(self) -> None:
        """Remove the least recently used files beyond the cache's size, but none that may be in use."""
        unused_since = time.time() - _IN_USE_S
        with self._lock:
            files = [(path, path.stat()) for path in self._folder.iterdir() if path.suffix != _PART]
            total = sum(status.st_size for _, status in files)
            for path, status in sorted(files, key=lambda entry: entry[1].st_mtime):
                if total <= self._cache_bytes or status.st_mtime > unused_since:
                    break
                path.unlink(missing_ok=True)
                total -= status.st_size
            for placed in [path for folder in self._placed_in for path in folder.iterdir()]:
                gone = not (self._folder / placed.name).exists()
                if gone and placed.stat().st_mtime < unused_since:
                    placed.unlink(missing_ok=True)


def public_source(source: str) -> str:
    """A source as it may stand in a log, error or manifest: without user, password, query and fragment."""
    try:
        parts = urlsplit(source)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "(an address that cannot be read)"
    if parts.scheme not in ("http", "https", "s3", "file"):
        return f"{parts.scheme[:20]}:…"
    return place if len(place) <= 200 else place[:197] + "..."


def _unavailable(source: str, reason: str, field: str | None) -> InputUnavailable:
    return InputUnavailable(public_source(source), reason, field=field)


def _link(path: Path, target: Path) -> None:
    """The same file under a second name; a copy where the folders lie on different disks."""
    if target.exists() and target.stat().st_size == path.stat().st_size:
        os.utime(target)
        return
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    part.replace(target)
    part.unlink(missing_ok=True)  # renaming onto a second name of the same file leaves both
