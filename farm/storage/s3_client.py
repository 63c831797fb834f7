"""boto3's parts behind `S3Storage`: client, transfer manager, hashing threads; made once for each process."""

from __future__ import annotations

import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from s3transfer.futures import TransferFuture
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber

from farm.errors import TransferStopped
from farm.process.environment import is_loopback
from farm.settings.s3 import S3Settings
from farm.storage.base import ProgressHook, S3Patience, StopHook
from farm.storage.endpoint import S3Endpoint
from farm.storage.s3_progress import watch_progress

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_PART_BYTES: Final = 8 << 20  # also the size from which a transfer goes in parts
_CONNECTIONS: Final = 10  # parts in flight, of all transfers of this process together
_HASHERS: Final = 4
_STOP_POLL_S: Final = 0.2


class S3Parts:
    """One client and what moves files with it. Safe to use from several threads, not across a fork."""

    def __init__(
        self, settings: S3Settings, endpoint: S3Endpoint, patience: S3Patience, *, public: S3Endpoint
    ) -> None:
        self.pid = os.getpid()
        self.client = _client(settings, endpoint, patience)
        # Makes links, and asks nobody anything.
        self.signer = self.client if public == endpoint else _client(settings, public, patience)
        # Files are read by the part that sends them, so memory does not grow with their size; what was
        # received waits for the disk in at most 100 pieces of 256 KiB.
        self._manager = TransferManager(
            self.client,
            TransferConfig(
                multipart_threshold=_PART_BYTES,
                multipart_chunksize=_PART_BYTES,
                max_request_concurrency=_CONNECTIONS,
                max_io_queue_size=100,
            ),
        )
        self.hashers = ThreadPoolExecutor(max_workers=_HASHERS, thread_name_prefix="sha256")

    def send(
        self,
        path: Path,
        bucket: str,
        key: str,
        *,
        media_type: str,
        progress: ProgressHook | None,
        stop: StopHook | None,
    ) -> None:
        """Upload a file; in parts from 8 MiB on."""
        watch = _Watch(progress)
        future = self._manager.upload(
            str(path), bucket, key, extra_args={"ContentType": media_type}, subscribers=[watch]
        )
        _finish(future, watch, key, stop)

    def fetch(
        self, bucket: str, key: str, path: Path, *, progress: ProgressHook | None, stop: StopHook | None
    ) -> None:
        """Download an object into a file."""
        watch = _Watch(progress)
        future = self._manager.download(bucket, key, str(path), subscribers=[watch])
        _finish(future, watch, key, stop)

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists, or at least may exist: 403 is no proof that it does not."""
        try:
            self.client.head_bucket(Bucket=bucket)
        except ClientError as exc:
            return int(exc.response["ResponseMetadata"]["HTTPStatusCode"]) != 404
        return True

    def close(self) -> None:
        """Stop transfers, end threads, close connections."""
        self._manager.shutdown(cancel=True)
        self.hashers.shutdown(wait=True, cancel_futures=True)
        self.client.close()
        self.signer.close()


class _Watch(BaseSubscriber):
    """Hears of a transfer's progress and end. Its methods are called from the manager's threads."""

    def __init__(self, progress: ProgressHook | None) -> None:
        self._progress = progress
        self.done = threading.Event()

    def on_progress(self, future: TransferFuture, bytes_transferred: int, **_: Any) -> None:  # noqa: ARG002
        if self._progress is not None:
            self._progress(bytes_transferred)

    def on_done(self, future: TransferFuture, **_: Any) -> None:  # noqa: ARG002
        self.done.set()


def _finish(future: TransferFuture, watch: _Watch, key: str, stop: StopHook | None) -> None:
    """Wait for a transfer; its error, if any, is raised."""
    try:
        while stop is not None and not watch.done.is_set():
            if stop():
                future.cancel()
                break
            watch.done.wait(_STOP_POLL_S)
        future.result()
    except CancelledError as exc:
        raise TransferStopped(key) from exc
    except BaseException:
        # Ctrl-C, or a `stop` that failed: what nobody waits for must not go on in the background.
        future.cancel()
        raise


def _session(*, alone: bool) -> boto3.session.Session:
    """A session of our own: boto3's default one is shared by all of the process and not safe for threads.

    Args:
        alone: nothing of the user's profiles and AWS_ variables counts, but the certificates to trust.
    """
    if not alone:
        return boto3.session.Session()
    variables = {
        name: (None, None, None if name in ("config_file", "credentials_file") else default, convert)
        for name, (_, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
        if name != "ca_bundle"
    }
    session = botocore.session.Session(session_vars=variables)
    session.register_component("data_loader", _descriptions())
    return boto3.session.Session(botocore_session=session)


@cache
def _descriptions() -> Loader:
    """What botocore knows of S3: a megabyte of JSON, read once for each process and not for each client."""
    return Loader()


def _client(settings: S3Settings, endpoint: S3Endpoint, patience: S3Patience) -> S3Client:
    key_id, secret = settings.access_key_id, settings.secret_access_key
    host = urlsplit(endpoint.endpoint_url or "").hostname or ""
    client: S3Client = _session(alone=key_id is not None and secret is not None).client(
        "s3",
        endpoint_url=endpoint.endpoint_url,
        region_name=endpoint.region,
        aws_access_key_id=key_id.get_secret_value() if key_id else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": endpoint.addressing},
            # Old MinIO, Ceph and R2 do not take checksum trailers; rclone answers a range with the whole
            # object's checksum, which the default would refuse.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=patience.connect_s,
            read_timeout=patience.silence_s,
            retries={"mode": "standard", "total_max_attempts": patience.attempts},
            # Ours is the endpoint that is shown and judged.
            ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]
            proxies={} if is_loopback(host) else None,
            # Parts in flight, and small requests beside them.
            max_pool_connections=_CONNECTIONS + 6,
            tcp_keepalive=True,
        ),
    )
    watch_progress(client)
    return client
