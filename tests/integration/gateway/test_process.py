"""`farm gateway` as a process: it starts, refuses to be open to everybody, and ends when told."""

from __future__ import annotations

import asyncio
import resource
import socket
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from farm.cli.terminal.exits import ExitCode
from farm.gateway.keys import Scope, create_key
from farm.notifier import store_at
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.storage import S3Storage
from farm.store.redis.doors import DoorBook
from tests.support.environment import environment_of
from tests.support.farm_process import FarmProcess
from tests.support.gateway_worker import HandWorker
from tests.support.jobs import a_job
from tests.support.valkey import eventually


def served(environ: dict[str, str], *arguments: str) -> FarmProcess:
    """`farm gateway`, once it has said where it is or has ended."""
    gateway = FarmProcess(environ, "gateway", "--port", "0", *arguments)
    eventually(lambda: gateway.url or gateway.child.poll() is not None)
    return gateway


@pytest.fixture
def environ(gateway_redis: RedisSettings, s3_settings: S3Settings) -> dict[str, str]:
    return {**environment_of(gateway_redis), **environment_of(s3_settings), "PATH": "/usr/bin:/bin"}


def test_it_serves_and_ends_when_told(environ: dict[str, str]) -> None:
    gateway = served(environ)

    with urllib.request.urlopen(f"{gateway.url}/readyz", timeout=30) as answer:
        assert answer.status == 200
    assert gateway.child.stop(grace_s=20.0) == 0


def test_without_a_key_it_listens_for_nobody_else(
    environ: dict[str, str], gateway_redis: RedisSettings
) -> None:
    refused = served(environ, "--host", "0.0.0.0")

    assert refused.child.poll() == ExitCode.USAGE
    assert any("farm keys create" in line for line in refused.lines)

    with closing(DoorBook(gateway_redis)) as book:
        create_key(book, "acme", [Scope.READ])
    allowed = served(environ, "--host", "0.0.0.0")
    assert allowed.url
    assert allowed.child.stop(grace_s=20.0) == 0


def holds_a_file_in(folder: Path, pid: int) -> bool:
    """Whether the process has a file open there, with a name or without."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return any(name.startswith(str(folder)) for name in found)


def test_a_gateway_that_is_killed_in_an_upload_leaves_nothing_behind(
    environ: dict[str, str], s3_settings: S3Settings, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    gateway = served({**environ, "TMPDIR": str(scratch)})
    port = int(str(gateway.url).rpartition(":")[2])
    with closing(S3Storage(s3_settings)) as storage:
        before = [each.key for each in storage.list()]
    head = b"POST /api/v2/assets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    head += b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + bytes(3 << 20))
        eventually(lambda: holds_a_file_in(scratch, gateway.child.pid))

        gateway.child.stop(grace_s=0.0)

    assert list(scratch.iterdir()) == []
    with closing(S3Storage(s3_settings)) as storage:
        assert [each.key for each in storage.list()] == before


STREAMS = 1000


@pytest.mark.long
def test_a_thousand_streams_at_once_are_told_the_end_in_bounded_memory(
    environ: dict[str, str], gateway_redis: RedisSettings, s3_settings: S3Settings
) -> None:
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most_files != resource.RLIM_INFINITY and most_files < 4 * STREAMS:
        pytest.skip("too few files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    gateway = served({**environ, "FARM_GATEWAY_REQUESTS_PER_S": "1000000"})
    port = int(str(gateway.url).rpartition(":")[2])
    with closing(store_at(gateway_redis)) as store, closing(S3Storage(s3_settings)) as storage:
        worker = HandWorker(store, storage)
        job_id = store.submit([a_job()])[0].job_id
        worker.start(job_id)

        told, memory_bytes = asyncio.run(followed(port, job_id, gateway.child.pid, worker))

    assert told == STREAMS
    assert memory_bytes <= 150_000_000
    assert gateway.child.stop(grace_s=20.0) == 0


async def followed(port: int, job_id: str, pid: int, worker: HandWorker) -> tuple[int, int]:
    """How many of the streams were told how the job ended, and the gateway's memory while all were open."""
    path = f"/api/v2/jobs/{job_id}/events"
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    begun: set[int] = set()
    all_begun = asyncio.Event()

    async def follow(number: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        ended = False
        while line := await reader.readline():
            if line.startswith(b"data: "):
                begun.add(number)
                ended = ended or b'"succeeded"' in line
                if len(begun) == STREAMS:
                    all_begun.set()
        writer.close()
        return ended

    streams = [asyncio.create_task(follow(number)) for number in range(STREAMS)]
    async with asyncio.timeout(150):
        await all_begun.wait()
        memory_bytes = psutil.Process(pid).memory_info().rss
        await asyncio.to_thread(worker.succeed, job_id)
        return sum(await asyncio.gather(*streams)), memory_bytes
