"""`S3Storage`: the storage on any S3: AWS, R2, MinIO and Ceph kin, and rclone over a folder.

Only what all of them do is used: no conditional writes, tags, ACLs or user metadata. (On rclone a tagging or
ACL call silently replaces the object's body with the request.)
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from farm.errors import BucketNotFound, ObjectDamaged, ObjectNotFound, StorageUnavailable, TransferStopped
from farm.limits import check_key
from farm.storage.base import (
    ListedObject,
    ProgressHook,
    S3Patience,
    StopHook,
    StoredFile,
    check_prefix,
    sha256_of,
    store_input,
)
from farm.storage.endpoint import S3Endpoint, public_endpoint, read_endpoint
from farm.storage.keys import KeyLayout

if TYPE_CHECKING:
    from farm.settings.s3 import S3Settings
    from farm.storage.s3_client import S3Parts

_PIECE_BYTES: Final = 1 << 20
_SMALL_BYTES: Final = 4 << 20  # files up to here go in one request, from memory
_DELETE_BATCH: Final = 1000  # what one DeleteObjects takes


class S3Storage:
    """A bucket on an S3 server. Cheap to make: the client comes with the first request (about 40 ms).

    What each method promises stands in `farm.storage.base.Storage`.
    """

    def __init__(self, settings: S3Settings, *, patience: S3Patience | None = None) -> None:
        """Raises `SettingsError` when the settings contradict each other; asks no server anything."""
        self._settings = settings
        self._patience = patience or S3Patience()
        self._endpoint = read_endpoint(settings)
        self._public = public_endpoint(settings, self._endpoint)
        self._keys = KeyLayout(prefix=settings.prefix)
        self._lock = threading.Lock()
        self._parts: S3Parts | None = None

    @property
    def bucket(self) -> str:
        return self._endpoint.bucket

    @property
    def endpoint(self) -> S3Endpoint:
        """Where the settings point."""
        return self._endpoint

    @property
    def keys(self) -> KeyLayout:
        return self._keys

    # ------------------------------------------------------------------ in

    def upload(
        self,
        path: Path,
        key: str,
        *,
        media_type: str,
        progress: ProgressHook | None = None,
        stop: StopHook | None = None,
    ) -> StoredFile:
        """See `Storage.upload`.

        A small file is read once and sent from memory: nothing is faster. A large one is read by the
        transfer's own threads, part by part, and once more, at the same time, for its hash. Hashing on the
        way through was measured too: it is no faster (the second read comes from the page cache), holds ten
        parts in memory, and a request that is sent again would spoil the hash.
        """
        check_key(key)
        size_bytes = path.stat().st_size
        if size_bytes > _SMALL_BYTES:
            return self._upload_large(path, size_bytes, key, media_type, progress, stop)
        if stop is not None and stop():
            raise TransferStopped(key)
        stored = self.put_bytes(path.read_bytes(), key, media_type=media_type)
        if progress is not None:
            progress(stored.size_bytes)
        return stored

    def _upload_large(
        self,
        path: Path,
        size_bytes: int,
        key: str,
        media_type: str,
        progress: ProgressHook | None,
        stop: StopHook | None,
    ) -> StoredFile:
        parts = self._made()
        hashed = parts.hashers.submit(sha256_of, path)
        with self._errors(f"upload of {key}", key=key):
            parts.send(path, self.bucket, key, media_type=media_type, progress=progress, stop=stop)
        sha256 = hashed.result()
        # Each part went with its hash in the signed request, so the server is not asked again what it keeps:
        # rclone reads the whole object for a HEAD (0.2 s for 100 MiB). That the file changed it cannot know.
        if path.stat().st_size != size_bytes:
            raise OSError(f"{path} changed while it was uploaded")
        return StoredFile(key=key, size_bytes=size_bytes, sha256=sha256)

    def put_bytes(self, data: bytes, key: str, *, media_type: str) -> StoredFile:
        check_key(key)
        with self._errors(f"upload of {key}", key=key):
            self._made().client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType=media_type)
        return StoredFile(key=key, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def upload_input(self, source: Path | bytes, *, suffix: str = "") -> str:
        return store_input(self, source, suffix=suffix)

    # ----------------------------------------------------------------- out

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
        """See `Storage.download`. Large objects come in parallel ranges, each tried again when it is cut."""
        bucket = bucket or self.bucket
        part_path = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._errors(f"download of {key}", key=key, bucket=bucket):
                self._made().fetch(bucket, key, part_path, progress=progress, stop=stop)
            stored = StoredFile(key=key, size_bytes=part_path.stat().st_size, sha256=sha256_of(part_path))
            if sha256 is not None and stored.sha256 != sha256:
                raise ObjectDamaged(bucket, key, f"its SHA-256 is {stored.sha256}, not {sha256}")
            part_path.replace(path)
        finally:
            part_path.unlink(missing_ok=True)
        return stored

    def read_bytes(self, key: str, *, limit_bytes: int = 16 << 20) -> bytes:
        with self._errors(f"download of {key}", key=key):
            answer = self._made().client.get_object(Bucket=self.bucket, Key=key)
            with answer["Body"] as body:
                if answer["ContentLength"] > limit_bytes:
                    reason = f"it has {answer['ContentLength']} bytes, at most {limit_bytes} were expected"
                    raise ObjectDamaged(self.bucket, key, reason)
                return body.read()

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        # Asked for now, not at the first piece: who answers HTTP must know of a 404 before it sends headers.
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        if start or length is not None:
            request["Range"] = f"bytes={start}-" + ("" if length is None else str(start + length - 1))
        with self._errors(f"download of {key}", key=key):
            body = self._made().client.get_object(**request)["Body"]
        return self._pieces(body, key)

    def _pieces(self, body: Any, key: str) -> Iterator[bytes]:
        with self._errors(f"download of {key}", key=key), body:
            yield from body.iter_chunks(_PIECE_BYTES)

    # ---------------------------------------------------------- what is there

    def find(self, key: str, *, bucket: str | None = None) -> ListedObject | None:
        bucket = bucket or self.bucket
        try:
            with self._errors(f"look at {key}", key=key, bucket=bucket):
                found = self._made().client.head_object(Bucket=bucket, Key=key)
        except ObjectNotFound:
            return None
        return ListedObject(key=key, size_bytes=found["ContentLength"], modified_at=found["LastModified"])

    def exists(self, key: str) -> bool:
        return self.find(key) is not None

    def list(self, prefix: str = "") -> Iterator[ListedObject]:
        with self._errors(f"listing of {prefix or 'all'}"):
            pages = self._made().client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield ListedObject(
                        key=entry["Key"], size_bytes=entry["Size"], modified_at=entry["LastModified"]
                    )

    def delete(self, key: str) -> None:
        with self._errors(f"deletion of {key}", key=key):
            self._made().client.delete_object(Bucket=self.bucket, Key=key)

    def delete_prefix(self, prefix: str) -> int:
        keys = [found.key for found in self.list(check_prefix(prefix))]
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = keys[start : start + _DELETE_BATCH]
            with self._errors(f"deletion of {prefix}"):
                answer = self._made().client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            if errors := answer.get("Errors"):
                reason = f"{len(errors)} objects under {prefix} stayed: {errors[0].get('Code')}"
                raise StorageUnavailable(self._endpoint.name, reason)
        return len(keys)

    def abort_uploads(self, prefix: str, *, before: datetime) -> int:
        aborted = 0
        for key, upload_id in self._uploads(check_prefix(prefix), before):
            with suppress(ObjectNotFound), self._errors(f"giving up an upload of {key}", key=key):
                self._made().client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
                aborted += 1
        return aborted

    def _uploads(self, prefix: str, before: datetime) -> Sequence[tuple[str, str]]:
        """Key and id of the uploads in parts that began before; rclone answers 404 when there is none."""
        found: tuple[tuple[str, str], ...] = ()
        with suppress(ObjectNotFound), self._errors(f"listing of uploads below {prefix}"):
            pages = self._made().client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                found += tuple(
                    (upload["Key"], upload["UploadId"])
                    for upload in page.get("Uploads", [])
                    if upload["Initiated"] < before and upload["Key"].startswith(prefix)
                )
        return found

    def url(self, key: str, *, expires_s: int | None = None, download_name: str | None = None) -> str:
        wanted = {"Bucket": self.bucket, "Key": key}
        if download_name is not None:
            wanted["ResponseContentDisposition"] = _attachment(download_name)
        with self._errors(f"link to {key}", key=key):
            return self._made().signer.generate_presigned_url(
                "get_object", Params=wanted, ExpiresIn=expires_s or self._settings.url_expires_s
            )

    def check(self) -> None:
        # No HEAD first: its answers carry no error code, a PUT's say whether key, secret or bucket is wrong.
        key = self._keys.scratch_key(f"check-{uuid.uuid4().hex}.txt")
        self.put_bytes(b"farm check", key, media_type="text/plain")
        try:
            if self.read_bytes(key) != b"farm check":
                raise StorageUnavailable(self._endpoint.name, "it gives back something else than was stored")
        except ObjectNotFound as exc:
            raise StorageUnavailable(self._endpoint.name, "it does not keep what is stored") from exc
        finally:
            self.delete(key)

    def close(self) -> None:
        with self._lock:
            parts, self._parts = self._parts, None
        if parts is not None and parts.pid == os.getpid():
            parts.close()

    # -------------------------------------------------------------- in common

    def _made(self) -> S3Parts:
        with self._lock:
            # A forked child must not share its parent's sockets and threads.
            if self._parts is None or self._parts.pid != os.getpid():
                from farm.storage.s3_client import S3Parts  # boto3 takes 0.2 s to import

                with self._errors("set-up of the client"):
                    self._parts = S3Parts(self._settings, self._endpoint, self._patience, public=self._public)
            return self._parts

    @contextmanager
    def _errors(self, doing: str, *, key: str = "", bucket: str | None = None) -> Iterator[None]:
        from farm.storage.s3_errors import s3_errors

        bucket = bucket or self.bucket
        try:
            with s3_errors(self._endpoint, doing, key=key, bucket=bucket):
                yield
        except ObjectNotFound as exc:
            # A HEAD is answered by a bare 404, whether the key or the whole bucket is missing.
            if not self._made().has_bucket(bucket):
                raise BucketNotFound(self._endpoint.name, bucket) from exc
            raise


def _attachment(name: str) -> str:
    plain = name.encode("ascii", "replace").decode().translate(str.maketrans('"\\\r\n', "____"))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
