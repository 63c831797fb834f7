"""Reads an input file from wherever its address leads, into a file on this disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from comfy.protocol.sniff import HEAD_BYTES, sniff
from farm.asking.sources import public_source, scheme_of
from farm.errors import (
    BucketNotFound,
    InputUnavailable,
    ObjectDamaged,
    ObjectNotFound,
    StorageDenied,
    TransferStopped,
)
from farm.storage import Storage, parse_s3_uri
from worker.inputs.fetch import TIME_LIMIT_S, FetchRefused, UrlFetcher

Stop = Callable[[], bool]


class SourceReader:
    """Fetches by S3, http(s), or from folders of this machine that the operator opened."""

    def __init__(
        self, storage: Storage, fetcher: UrlFetcher, *, limit_bytes: int, folders: Sequence[Path] = ()
    ) -> None:
        """`folders` are where ``file:`` sources may lie; whoever submits can read what is in them."""
        self._storage = storage
        self._fetcher = fetcher
        self._limit_bytes = limit_bytes
        self._folders = [folder.expanduser().resolve() for folder in folders]

    def read(self, source: str, into: Path, *, field: str | None, sha256: str | None, stop: Stop) -> None:
        """Write what is at the address into a file, and see that it is a picture, video or sound.

        Args:
            source: without a pin.
            field: the job's input that it is for: "node.input"; stands in errors.
            sha256: what a download from S3 is checked against.
            stop: True ends it.

        Raises:
            InputUnavailable: it cannot be had, is too large, or is no media file.
            StorageUnavailable: the farm's own storage cannot be reached; it may be later.
            TransferStopped: `stop` said so.
        """
        scheme = scheme_of(source)
        if scheme == "s3":
            self._from_s3(source, into, field, sha256, stop)
        elif scheme in ("http", "https"):
            self._from_url(source, into, field, stop)
        elif scheme == "file":
            self._from_file(source, into, field)
        else:
            raise unavailable(source, "only s3:, http: and https: are fetched", field)
        with into.open("rb") as file:
            fault = _fault_of(file.read(HEAD_BYTES))
        if fault:
            raise unavailable(source, fault, field)

    def _from_url(self, source: str, into: Path, field: str | None, stop: Stop) -> None:
        try:
            self._fetcher.fetch(source, into, look=_fault_of, stop=stop)
        except FetchRefused as exc:
            raise unavailable(source, str(exc), field) from exc

    def _from_s3(self, source: str, into: Path, field: str | None, sha256: str | None, stop: Stop) -> None:
        try:
            bucket, key = parse_s3_uri(source)
        except ValueError as exc:
            raise unavailable(
                source, "its form is s3://bucket/key, without '.' or '..' between slashes", field
            ) from exc
        deadline = time.monotonic() + TIME_LIMIT_S
        try:
            found = self._storage.find(key, bucket=bucket)
            self._check_size(source, found.size_bytes if found else 0, field)
            self._storage.download(
                key,
                into,
                bucket=bucket,
                sha256=sha256,
                stop=lambda: stop() or time.monotonic() > deadline,
            )
        except TransferStopped as exc:
            if stop():
                raise
            raise unavailable(source, f"it took longer than {TIME_LIMIT_S:g} s", field) from exc
        except (ObjectNotFound, ObjectDamaged) as exc:
            raise unavailable(source, str(exc), field) from exc
        except (BucketNotFound, StorageDenied) as exc:
            if bucket == self._storage.bucket:
                raise  # not the job's fault: nothing of the farm's works
            raise unavailable(source, exc.reason, field) from exc

    def _from_file(self, source: str, into: Path, field: str | None) -> None:
        try:
            # Resolved before it is judged: a link may lead out of the folder.
            path = Path(unquote(urlsplit(source).path)).resolve()
            there = any(path.is_relative_to(folder) for folder in self._folders)
            is_file = there and path.is_file()
        except (ValueError, OSError, RuntimeError) as exc:
            raise unavailable(source, "its path cannot be read", field) from exc
        if not there:
            reason = "it lies in none of the folders that this worker gives out (FARM_INPUT_FOLDERS)"
            raise unavailable(source, reason, field)
        if not is_file:
            raise unavailable(source, "there is no such file", field)
        self._check_size(source, path.stat().st_size, field)
        shutil.copyfile(path, into)

    def _check_size(self, source: str, size_bytes: int, field: str | None) -> None:
        if size_bytes > self._limit_bytes:
            limit_mib = self._limit_bytes >> 20
            reason = f"it has {size_bytes >> 20} MiB, at most {limit_mib} are taken (FARM_INPUT_LIMIT_MIB)"
            raise unavailable(source, reason, field)


def unavailable(source: str, reason: str, field: str | None) -> InputUnavailable:
    """The error that a job's input cannot be had, without the address's secrets."""
    return InputUnavailable(public_source(source), reason, field=field)


def _fault_of(head: bytes) -> str | None:
    """What is wrong with a file that begins so."""
    if sniff(head) is not None:
        return None
    what = f"begins with {head[:12]!r}" if head else "is empty"
    return f"it is no picture, video or sound that is known: it {what}"
