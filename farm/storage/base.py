"""`Storage`: objects under keys, whatever keeps them. What it promises is tested for every form of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from farm.storage.keys import KeyLayout

_HASH_PIECE_BYTES: Final = 4 << 20
_STORE_AGAIN_AFTER: Final = timedelta(days=1)

ProgressHook = Callable[
    [int], None
]  # bytes moved since the last call (< 0: to be sent again); called from other threads
StopHook = Callable[[], bool]  # asked several times a second; True ends the transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """An object whose content we know, because we moved it ourselves."""

    key: str
    size_bytes: int
    sha256: str  # hex


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """An object as the store lists it."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Patience:
    """How long to wait for the store. A command line wants an answer sooner than a worker."""

    connect_s: float = 5.0
    silence_s: float = 60.0  # in which no byte moves, in the midst of a body as well as before the answer
    attempts: int = 4  # of one request, the first included; back-off between them grows from about 0.5 s


class Storage(Protocol):
    """A bucket. Safe to use from several threads.

    Every method raises `StorageUnavailable` (`BucketNotFound`, `StorageDenied`) when the store cannot be
    reached or refuses, and every write `ValueError` for a key that breaks the key rule. A write that failed
    leaves the old object or none: never half of one.
    """

    @property
    def bucket(self) -> str:
        """Name of the bucket that results go to."""
        ...

    @property
    def keys(self) -> KeyLayout:
        """Which key a thing gets."""
        ...

    def upload(
        self,
        path: Path,
        key: str,
        *,
        media_type: str,
        progress: ProgressHook | None = None,
        stop: StopHook | None = None,
    ) -> StoredFile:
        """Store a file, whatever its size, in little memory.

        Raises:
            TransferStopped: `stop` said so.
            OSError: the file cannot be read, or changed meanwhile.
        """
        ...

    def put_bytes(self, data: bytes, key: str, *, media_type: str) -> StoredFile:
        """Store something small."""
        ...

    def upload_input(self, source: Path | bytes, *, suffix: str = "") -> str:
        """Store an input file under its own hash and give its ``s3://`` address; what is there is not resent.

        Args:
            suffix: ending of the name with its dot, when `source` is bytes; a path's own ending wins.
        """
        ...

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
        """Fetch an object into a file, which appears under its name only when it is whole.

        Raises:
            ObjectNotFound: there is none.
            ObjectDamaged: its content is not that of `sha256`.
            TransferStopped: `stop` said so.
        """
        ...

    def read_bytes(self, key: str, *, limit_bytes: int = 16 << 20) -> bytes:
        """The whole of a small object.

        Raises:
            ObjectNotFound: there is none.
            ObjectDamaged: it is larger than `limit_bytes`.
        """
        ...

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object's bytes from `start` on, in pieces of at most 1 MiB; the request is made at once.

        Raises:
            ObjectNotFound: there is none.
        """
        ...

    def find(self, key: str, *, bucket: str | None = None) -> ListedObject | None:
        """What the store knows of one object; None if there is none."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        ...

    def list(self, prefix: str = "") -> Iterator[ListedObject]:
        """All objects whose key begins so, in order of their keys."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; that there is none is no error."""
        ...

    def delete_prefix(self, prefix: str) -> int:
        """Remove everything under a prefix, which must end in ``/`` (else attempt 1 would take 10 along).

        Returns:
            How many objects there were.
        """
        ...

    def abort_uploads(self, prefix: str, *, before: datetime) -> int:
        """Give up uploads in parts that began before a moment and were never completed: their parts cost room
        that no listing shows.

        Returns:
            How many there were.
        """
        ...

    def url(self, key: str, *, expires_s: int | None = None, download_name: str | None = None) -> str:
        """A link that anybody can fetch the object with, for a time.

        Args:
            expires_s: at most a week; default: the setting.
            download_name: makes a browser save the file under that name rather than show it.
        """
        ...

    def check(self) -> None:
        """Write, read and delete a scratch object; the error names host, fault and setting."""
        ...

    def close(self) -> None:
        """End background threads; what is under way is stopped."""
        ...


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    # Large pieces: each one asks for the interpreter's lock again, and beside busy upload threads that
    # takes milliseconds. With the 256 KiB of `hashlib.file_digest` the hash ended long after the upload.
    digest, buffer = hashlib.sha256(), bytearray(min(_HASH_PIECE_BYTES, max(path.stat().st_size, 1)))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()


def check_prefix(prefix: str) -> str:
    """The prefix itself, if all under it may be deleted.

    Raises:
        ValueError: it is empty or does not end in a slash.
    """
    if not prefix.endswith("/") or prefix == "/":
        raise ValueError(f"{prefix!r} is not the prefix of a folder: it must end in '/'")
    return prefix


def store_input(storage: Storage, source: Path | bytes, *, suffix: str) -> str:
    """`Storage.upload_input`, the same for every form."""
    from farm.storage.keys import media_type_of

    if isinstance(source, bytes):
        digest, size = hashlib.sha256(source).hexdigest(), len(source)
    else:
        digest, size, suffix = sha256_of(source), source.stat().st_size, source.suffix or suffix
    key = storage.keys.input_key(digest, suffix)
    found = storage.find(key)
    # One that is there for long is stored anew: its age is all that tells the clean-up that it is in use.
    if found is not None and found.modified_at < datetime.now(UTC) - _STORE_AGAIN_AFTER:
        found = None
    # A size that differs is a store's half-written leftover: the name alone proves nothing.
    if found is None or found.size_bytes != size:
        if isinstance(source, bytes):
            storage.put_bytes(source, key, media_type=media_type_of(key))
        else:
            storage.upload(source, key, media_type=media_type_of(key))
    return f"s3://{storage.bucket}/{key}"
