"""Input files of jobs: fetched once, kept by content, put where ComfyUI's loaders find them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from comfy.protocol.outputs import MediaKind
from comfy.protocol.sniff import HEAD_BYTES, sniff
from farm.asking.sources import public_source, without_pin
from farm.errors import TransferStopped
from farm.outside.dial import dialer_of
from farm.settings.worker import WorkerSettings
from farm.storage import Storage
from farm.storage.base import sha256_of
from worker.inputs.fetch import UrlFetcher
from worker.inputs.sources import SourceReader, Stop, unavailable

log = logging.getLogger(__name__)

INPUT_SUBFOLDER: Final = "farm"  # below ComfyUI's input folder
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
        fetcher: UrlFetcher | None = None,
    ) -> None:
        """Make the folder and clear what a killed worker left half-done.

        Args:
            storage: for ``s3://`` sources.
            settings: `input_cache_mib`, `input_limit_mib`, `input_folders`, `allow_private_urls`.
        """
        self._folder = folder
        self._storage = storage
        limit_bytes = settings.input_limit_mib << 20
        # To another user, who is ComfyUI, the folders open only the names of its jobs' inputs.
        self._mode = 0o644 if settings.comfy_user else 0o600
        self._cache_bytes = settings.input_cache_mib << 20
        self._reader = SourceReader(
            storage,
            fetcher or UrlFetcher(dialer_of(settings), size_bytes=limit_bytes),
            limit_bytes=limit_bytes,
            folders=[Path(each) for each in settings.input_folders.split(":") if each],
        )
        self._lock = threading.Lock()
        self._coming: dict[str, Future[CachedInput]] = {}
        self._held: dict[str, set[str]] = {}  # holder -> names of files
        self._provided_in: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{_PART}"):
            leftover.unlink(missing_ok=True)

    def fetch(
        self, source: str, *, holder: str, field: str | None = None, stop: Stop = lambda: False
    ) -> CachedInput:
        """The file of a source; fetched unless it is here. Threads that want the same one wait for one fetch.

        Args:
            source: ``s3://bucket/key``, ``http(s)://…`` or ``file:///path`` in a folder that is given out;
                with ``#sha256=…`` behind it only that content is taken.
            holder: who needs the file: it stays until `release`.
            field: the job's input that it is for: "node.input"; stands in errors.
            stop: True ends the fetch.

        Raises:
            InputUnavailable: it cannot be had, is too large, or no picture, video or sound.
            StorageUnavailable: the storage cannot be reached; it may be later.
            TransferStopped: `stop` said so.
        """
        while True:
            found = self._fetched(source, field, stop)
            with self._lock:
                # It may have been evicted since: then once more.
                if found.path.exists():
                    self._held.setdefault(holder, set()).add(found.name)
                    os.utime(found.path)  # used now: the least recently used goes first
                    break
        self._evict()
        return found

    def provide(
        self,
        source: str,
        input_folder: Path,
        *,
        holder: str,
        field: str | None = None,
        stop: Stop = lambda: False,
    ) -> str:
        """Put a source's file below ComfyUI's input folder and give the name that its loaders take.

        Args:
            input_folder: ComfyUI's own; the file goes into its ``farm/``.

        Raises:
            InputUnavailable, StorageUnavailable, TransferStopped: as `fetch`.
        """
        cached = self.fetch(source, holder=holder, field=field, stop=stop)
        target = input_folder / INPUT_SUBFOLDER / cached.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._provided_in.add(target.parent)
            _link(cached.path, target)
        return f"{INPUT_SUBFOLDER}/{cached.name}"

    def release(self, holder: str) -> None:
        """The holder needs its files no more; they stay as long as there is room."""
        with self._lock:
            self._held.pop(holder, None)

    def _fetched(self, source: str, field: str | None, stop: Stop) -> CachedInput:
        while (mine := self._join(source)) is None:
            with self._lock:
                coming = self._coming.get(source)
            if coming is None:
                continue
            try:
                return coming.result()
            except TransferStopped:
                if stop():  # else it was the other one who was told to stop
                    raise
        try:
            found = self._bring(source, field, stop)
            mine.set_result(found)
        except BaseException as exc:
            mine.set_exception(exc)
            raise
        finally:
            with self._lock:
                del self._coming[source]
        return found

    def _join(self, source: str) -> Future[CachedInput] | None:
        """The right to fetch; None while somebody else does."""
        with self._lock:
            if source in self._coming:
                return None
            return self._coming.setdefault(source, Future())

    def _bring(self, source: str, field: str | None, stop: Stop) -> CachedInput:
        try:
            pinned = without_pin(source)
        except ValueError as exc:
            raise unavailable(source, str(exc), field) from exc
        named = self._own_sha256(pinned.address)
        if named and pinned.sha256 and named != pinned.sha256:
            raise unavailable(source, _not_pinned(named, pinned.sha256), field)
        wanted = pinned.sha256 or named
        return (wanted and self._here(wanted)) or self._read(pinned.address, wanted, field, stop)

    def _here(self, digest: str) -> CachedInput | None:
        """The file with that content, if it is in the cache."""
        for path in self._folder.glob(f"{digest}.*"):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                media = sniff(file.read(HEAD_BYTES))
                return CachedInput(path=path, sha256=digest, kind=media.kind) if media else None
        return None

    def _own_sha256(self, source: str) -> str | None:
        """The hash of what we have uploaded ourselves; such an object never changes."""
        named = _OURS.fullmatch(source.rpartition("/")[2])
        if named is None:
            return None
        key = self._storage.keys.input_key(named["sha256"], named["suffix"] or "")
        return named["sha256"] if source == f"s3://{self._storage.bucket}/{key}" else None

    def _read(self, source: str, wanted: str | None, field: str | None, stop: Stop) -> CachedInput:
        part = self._folder / f"{uuid.uuid4().hex}{_PART}"
        try:
            self._reader.read(source, part, field=field, sha256=wanted, stop=stop)
            digest = sha256_of(part)
            if wanted is not None and digest != wanted:
                raise unavailable(source, _not_pinned(digest, wanted), field)
            with part.open("rb") as file:
                media = sniff(file.read(HEAD_BYTES))
            if media is None:  # the reader has looked: somebody writes into our folder
                raise unavailable(source, "it changed while it was fetched", field)
            path = self._folder / f"{digest}{media.suffix}"
            part.chmod(self._mode)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        facts = {"source": public_source(source), "sha256": digest, "size_bytes": path.stat().st_size}
        log.info("Input fetched", extra={"event": "input_fetched", **facts})
        return CachedInput(path=path, sha256=digest, kind=media.kind)

    def _evict(self) -> None:
        """Remove the least recently used files beyond the cache's size, but none that somebody holds."""
        with self._lock:
            held = set().union(*self._held.values())
            files = [(path, path.stat()) for path in self._folder.iterdir() if path.suffix != _PART]
            total = sum(status.st_size for _, status in files)
            for path, status in sorted(files, key=lambda entry: entry[1].st_mtime):
                if total <= self._cache_bytes:
                    break
                if path.name not in held:
                    path.unlink(missing_ok=True)
                    total -= status.st_size
            for link in [path for folder in self._provided_in for path in folder.iterdir()]:
                if link.name not in held and not (self._folder / link.name).exists():
                    link.unlink(missing_ok=True)


def _not_pinned(found: str, wanted: str) -> str:
    return f"its content has the SHA-256 {found}, not the {wanted} that was asked for"


def _link(path: Path, target: Path) -> None:
    """The same file under a second name; a copy where the folders lie on different disks."""
    if target.exists() and target.stat().st_size == path.stat().st_size:
        os.utime(target)
        return
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        os.link(path, part)
    except OSError:
        shutil.copy(path, part)
    part.replace(target)
    part.unlink(missing_ok=True)  # renaming onto a second name of the same file leaves both
