"""`FolderStorage`: the storage as files below a folder, for tests. Passes the contract of `Storage`."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from farm.errors import BucketNotFound, ObjectDamaged, ObjectNotFound, StorageUnavailable, TransferStopped
from farm.limits import check_key
from farm.storage.base import (
    ListedObject,
    ProgressHook,
    StopHook,
    StoredFile,
    check_prefix,
    sha256_of,
    store_input,
)
from farm.storage.keys import KeyLayout

_PIECE_BYTES = 1 << 20
_MARK = ".part"  # of a file that is not whole yet; no key of ours ends so


class FolderStorage:
    """Each bucket is a folder in `root`, each object a file; links are ``file:`` addresses.

    What each method promises stands in `farm.storage.base.Storage`.

    Attributes:
        broken: while set, every call fails with it: ``StorageUnavailable("folder", "unplugged")``.
        writes: keys in the order in which they were written.
        media_types: what each key was stored as.
    """

    def __init__(self, root: Path, *, bucket: str = "farm", prefix: str = "") -> None:
        self._root = root
        self._bucket = bucket
        self._keys = KeyLayout(prefix=prefix)
        self.broken: Exception | None = None
        self.writes: list[str] = []
        self.media_types: dict[str, str] = {}
        (root / bucket).mkdir(parents=True, exist_ok=True)

    @property
    def bucket(self) -> str:
        return self._bucket

    @property
    def keys(self) -> KeyLayout:
        return self._keys

    def upload(
        self,
        path: Path,
        key: str,
        *,
        media_type: str,
        progress: ProgressHook | None = None,
        stop: StopHook | None = None,
    ) -> StoredFile:
        target = self._target(check_key(key), media_type)
        return self._copy(path, target, key, progress=progress, stop=stop)

    def put_bytes(self, data: bytes, key: str, *, media_type: str) -> StoredFile:
        target = self._target(check_key(key), media_type)
        part = _part_of(target)
        part.write_bytes(data)
        part.replace(target)
        return StoredFile(key=key, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def upload_input(self, source: Path | bytes, *, suffix: str = "") -> str:
        return store_input(self, source, suffix=suffix)

    def download(
        self,
        key: str,
        path: Path,
        *,
        bucket: str | None = None,
        sha256: str | None = None,
        progress: ProgressHook | None = None,
        stop: StopHook | None = None,
    ) -> StoredFile:
        path.parent.mkdir(parents=True, exist_ok=True)
        source = self._file(key, bucket)
        if sha256 is not None and (found := sha256_of(source)) != sha256:
            raise ObjectDamaged(bucket or self._bucket, key, f"its SHA-256 is {found}, not {sha256}")
        return self._copy(source, path, key, progress=progress, stop=stop)

    def read_bytes(self, key: str, *, limit_bytes: int = 16 << 20) -> bytes:
        file = self._file(key)
        if (size := file.stat().st_size) > limit_bytes:
            reason = f"it has {size} bytes, at most {limit_bytes} were expected"
            raise ObjectDamaged(self._bucket, key, reason)
        return file.read_bytes()

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        return _pieces(self._file(key), start, length)

    def find(self, key: str, *, bucket: str | None = None) -> ListedObject | None:
        try:
            return _listed(key, self._file(key, bucket))
        except ObjectNotFound:
            return None

    def exists(self, key: str) -> bool:
        return self.find(key) is not None

    def list(self, prefix: str = "") -> Iterator[ListedObject]:
        folder = self._folder()
        files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        for key in sorted(files):
            if key.startswith(prefix) and not key.endswith(_MARK):
                yield _listed(key, files[key])

    def delete(self, key: str) -> None:
        (self._folder() / key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> int:
        keys = [found.key for found in self.list(check_prefix(prefix))]
        for key in keys:
            self.delete(key)
        return len(keys)

    def abort_uploads(self, prefix: str, *, before: datetime) -> int:  # noqa: ARG002
        """See `Storage.abort_uploads`: a folder knows no uploads in parts."""
        return 0

    def url(self, key: str, *, expires_s: int | None = None, download_name: str | None = None) -> str:  # noqa: ARG002
        """See `Storage.url`; this one never expires."""
        return (self._folder() / key).resolve().as_uri()

    def check(self) -> None:
        if not os.access(self._folder(), os.W_OK):
            raise StorageUnavailable(str(self._root), "the folder cannot be written to")

    def close(self) -> None:
        """Nothing to end."""

    def _folder(self, bucket: str | None = None) -> Path:
        if self.broken is not None:
            raise self.broken
        folder = self._root / (bucket or self._bucket)
        if not folder.is_dir():
            raise BucketNotFound(str(self._root), bucket or self._bucket)
        return folder

    def _file(self, key: str, bucket: str | None = None) -> Path:
        file = self._folder(bucket) / key
        if not file.is_file():
            raise ObjectNotFound(bucket or self._bucket, key)
        return file

    def _target(self, key: str, media_type: str) -> Path:
        target = self._folder() / key
        target.parent.mkdir(parents=True, exist_ok=True)
        self.writes.append(key)
        self.media_types[key] = media_type
        return target

    def _copy(
        self, source: Path, target: Path, key: str, *, progress: ProgressHook | None, stop: StopHook | None
    ) -> StoredFile:
        part, digest, size = _part_of(target), hashlib.sha256(), 0
        try:
            with part.open("wb") as out:
                for piece in _pieces(source, 0, None):
                    if stop is not None and stop():
                        raise TransferStopped(key)
                    out.write(piece)
                    digest.update(piece)
                    size += len(piece)
                    if progress is not None:
                        progress(len(piece))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return StoredFile(key=key, size_bytes=size, sha256=digest.hexdigest())


def _part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}{_MARK}")


def _listed(key: str, file: Path) -> ListedObject:
    status = file.stat()
    modified_at = datetime.fromtimestamp(status.st_mtime, tz=UTC)
    return ListedObject(key=key, size_bytes=status.st_size, modified_at=modified_at)


def _pieces(path: Path, start: int, length: int | None) -> Iterator[bytes]:
    left = path.stat().st_size if length is None else length
    with path.open("rb") as file:
        file.seek(start)
        while left > 0 and (piece := file.read(min(_PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
