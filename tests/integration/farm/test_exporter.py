"""`farm metrics` as Prometheus meets it: a process, a port, a scrape, and an end."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from farm.cli.terminal.exits import ExitCode
from farm.notifier import store_at
from farm.process.child import Child
from farm.process.logpump import LogLine
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from tests.support.environment import environment_of
from tests.support.fleet import announce
from tests.support.valkey import eventually

ROOT = Path(__file__).parents[3]


class Exporter:
    """A running exporter."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.child = Child.start(
            [sys.executable, "-m", "farm.cli", "metrics", "--port", "0"],
            name="metrics",
            env=environ,
            cwd=ROOT,
            on_line=self._hear,
            grace_s=10.0,
        )
        eventually(lambda: self.url, within_s=30)

    @property
    def url(self) -> str | None:
        found = [re.search(r"http://\S+", line) for line in self.lines]
        return next((match[0] for match in found if match), None)

    def scrape(self) -> str:
        with urllib.request.urlopen(str(self.url), timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def _hear(self, line: LogLine) -> None:
        self.lines.append(line.text)


@pytest.fixture
def environ(valkey_url: str, namespace: str, s3_settings: S3Settings) -> dict[str, str]:
    redis = RedisSettings.read(url=valkey_url, namespace=namespace)
    return {**environment_of(redis), **environment_of(s3_settings), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def exporter(environ: dict[str, str]) -> Iterator[Exporter]:
    started = Exporter(environ)
    yield started
    started.child.stop(grace_s=0.0)


def test_the_fleet_is_scraped_and_the_exporter_ends_when_told(
    exporter: Exporter, valkey_url: str, namespace: str, s3_settings: S3Settings
) -> None:
    redis = RedisSettings.read(url=valkey_url, namespace=namespace)
    with closing(store_at(redis)) as store:
        announce(store, "gpu3@rack", vram_gib=24, proof={"differences": ["a", "b"]})

        text = exporter.scrape()

    assert "farm_redis_up 1.0" in text
    assert 'farm_worker_proof_differences{worker="gpu3@rack"} 2.0' in text
    assert exporter.child.stop(grace_s=20.0) == 0


def test_a_port_in_use_is_told_in_a_line_with_the_remedy(exporter: Exporter, environ: dict[str, str]) -> None:
    port = str(exporter.url).rpartition(":")[2].removesuffix("/metrics")

    ended = subprocess.run(
        [sys.executable, "-m", "farm.cli", "metrics", "--port", port],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == ExitCode.USAGE
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_scrape_is_printed_for_those_without_prometheus(environ: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "farm.cli", "metrics", "--once"],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert 'farm_jobs{state="queued"} 0.0' in ended.stdout
