"""`farm gateway` as a process: it starts, refuses to be open to everybody, and ends when told."""

from __future__ import annotations

import re
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from farm.cli.terminal.exits import ExitCode
from farm.gateway.keys import Scope, create_key
from farm.process.child import Child
from farm.settings import RedisSettings, S3Settings, environment_of
from farm.store.redis.doors import DoorBook
from tests.support.valkey import eventually

ROOT = Path(__file__).parents[3]


class Process:
    """A running `farm gateway`."""

    def __init__(self, environ: dict[str, str], *arguments: str) -> None:
        self.lines: list[str] = []
        self.child = Child.start(
            [sys.executable, "-m", "farm.cli", "gateway", "--port", "0", *arguments],
            name="gateway",
            env=environ,
            cwd=ROOT,
            on_line=lambda line: self.lines.append(line.text),
            grace_s=10.0,
        )

    @property
    def url(self) -> str | None:
        """Where it said that it is."""
        found = [re.search(r"http://\S+", line) for line in self.lines]
        return next((match[0] for match in found if match), None)


@pytest.fixture
def environ(gateway_redis: RedisSettings, s3_settings: S3Settings) -> dict[str, str]:
    return {**environment_of(gateway_redis), **environment_of(s3_settings), "PATH": "/usr/bin:/bin"}


def test_it_serves_and_ends_when_told(environ: dict[str, str]) -> None:
    gateway = Process(environ)
    eventually(lambda: gateway.url or gateway.child.poll() is not None)

    with urllib.request.urlopen(f"{gateway.url}/readyz", timeout=30) as answer:
        assert answer.status == 200
    assert gateway.child.stop(grace_s=20.0) == 0


def test_without_a_key_it_listens_for_nobody_else(
    environ: dict[str, str], gateway_redis: RedisSettings
) -> None:
    refused = Process(environ, "--host", "0.0.0.0")
    eventually(lambda: refused.child.poll() is not None)

    assert refused.child.poll() == ExitCode.USAGE
    assert any("farm keys create" in line for line in refused.lines)

    with closing(DoorBook(gateway_redis)) as book:
        create_key(book, "acme", [Scope.READ])
    allowed = Process(environ, "--host", "0.0.0.0")
    eventually(lambda: allowed.url or allowed.child.poll() is not None)
    assert allowed.url
    assert allowed.child.stop(grace_s=20.0) == 0
