"""`farm metrics` as Prometheus meets it: a process, a port, a scrape, and an end."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest

from farm.cli.terminal.exits import ExitCode
from farm.notifier import store_at
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from tests.support.environment import environment_of
from tests.support.farm_process import FarmProcess, run_farm
from tests.support.fleet import announce
from tests.support.valkey import eventually


@pytest.fixture
def environ(valkey_url: str, namespace: str, s3_settings: S3Settings) -> dict[str, str]:
    redis = RedisSettings.read(url=valkey_url, namespace=namespace)
    return {**environment_of(redis), **environment_of(s3_settings), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def exporter(environ: dict[str, str]) -> Iterator[FarmProcess]:
    """A running exporter."""
    started = FarmProcess(environ, "metrics", "--port", "0")
    eventually(lambda: started.url, within_s=30)
    yield started
    started.child.stop(grace_s=0.0)


def test_the_fleet_is_scraped_and_the_exporter_ends_when_told(
    exporter: FarmProcess, valkey_url: str, namespace: str, s3_settings: S3Settings
) -> None:
    redis = RedisSettings.read(url=valkey_url, namespace=namespace)
    with closing(store_at(redis)) as store:
        announce(store, "gpu3@rack", vram_gib=24, proof={"differences": ["a", "b"]})

        with urllib.request.urlopen(str(exporter.url), timeout=60) as answer:
            text = answer.read().decode()

    assert "farm_redis_up 1.0" in text
    assert 'farm_worker_proof_differences{worker="gpu3@rack"} 2.0' in text
    assert exporter.child.stop(grace_s=20.0) == 0


def test_a_port_in_use_is_told_in_a_line_with_the_remedy(
    exporter: FarmProcess, environ: dict[str, str]
) -> None:
    port = str(exporter.url).rpartition(":")[2].removesuffix("/metrics")

    ended = run_farm("metrics", "--port", port, environ=environ)

    assert ended.returncode == ExitCode.USAGE
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_scrape_is_printed_for_those_without_prometheus(environ: dict[str, str]) -> None:
    ended = run_farm("metrics", "--once", environ=environ)

    assert ended.returncode == 0, ended.stderr
    assert 'farm_jobs{state="queued"} 0.0' in ended.stdout
