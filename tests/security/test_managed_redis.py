"""Redis as it is sold: commands beside the ledger's own are gone; the farm serves and says what it missed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from farm.broker import CeleryNotifier, make_app
from farm.check.services import judge_redis
from farm.job import JobState
from farm.settings.redis import RedisSettings
from farm.store.base import LeaseAnswer, StoreLimits
from farm.store.redis.safety import Durability
from farm.store.redis.server import check_server, doubts
from farm.store.redis.store import RedisJobStore, connect
from tests.support.jobs import QUEUE, a_job, a_result, claimed
from tests.support.valkey import ValkeyServer, eventually

ROOT = Path(__file__).parents[2]
# What redis-py, kombu or our checks ask besides; ledger and queue cannot do without the others.
BESIDES = (
    "HELLO",
    "CLIENT",
    "INFO",
    "CONFIG",
    "WAIT",
    "ACL",
    "COMMAND",
    "KEYS",
    "SCAN",
    "FLUSHALL",
    "SHUTDOWN",
)
A_WORKER = """
import sys
from farm.broker import make_app
from farm.settings.redis import RedisSettings
app = make_app(RedisSettings.read())
@app.task(name="farm.render", ignore_result=True)
def render(job_id=None, **_): print("RAN", flush=True)
app.worker_main(["worker", "-P", "threads", "-c", "1", "-l", "warning",
                 "--without-mingle", "--without-gossip", "-Q", sys.argv[1]])
"""
StartValkey = Callable[..., ValkeyServer]


def without(start_valkey: StartValkey, *commands: str) -> ValkeyServer:
    """A server that has never heard of these."""
    renamed = [word for command in commands for word in ("--rename-command", command, "")]
    return start_valkey("--appendonly", "yes", *renamed)


def opened(server: ValkeyServer) -> RedisJobStore:
    settings = RedisSettings.read(url=server.url)
    return connect(settings, StoreLimits(), CeleryNotifier(make_app(settings), settings.namespace))


@pytest.mark.parametrize("commands", [*((name,) for name in BESIDES), BESIDES], ids="+".join)
def test_a_job_goes_its_way_without_a_command(commands: tuple[str, ...], start_valkey: StartValkey) -> None:
    server = without(start_valkey, *commands)
    with (
        redis.Redis.from_url(server.url, protocol=2) as client,
        pytest.raises(redis.ResponseError, match="unknown"),
    ):
        client.execute_command(commands[0])
    store = opened(server)

    facts = store.ping()
    job_id = store.submit([a_job()])[0].job_id
    with make_app(RedisSettings.read(url=server.url)).connection_for_read() as connection:
        message: Any = connection.default_channel.basic_get(QUEUE)  # type: ignore[attr-defined]
    claim = claimed(store, job_id)
    done = store.succeed(job_id, 1, a_result(), token=claim.token)

    assert message.headers["id"] == job_id
    assert done is LeaseAnswer.OK
    assert store.get(job_id).state is JobState.SUCCEEDED
    assert check_server(facts) == []
    assert bool(doubts(facts)) == bool({"INFO", "CONFIG"} & set(commands))
    assert not any(finding.blocks for finding in judge_redis(facts))
    store.close()


def test_a_celery_worker_serves_where_all_of_them_are_gone(start_valkey: StartValkey, tmp_path: Path) -> None:
    server = without(start_valkey, *BESIDES)
    store = opened(server)
    log = tmp_path / "worker.log"
    with log.open("w") as output:
        worker = subprocess.Popen(
            [sys.executable, "-c", A_WORKER, QUEUE],
            env={**os.environ, "FARM_REDIS_URL": server.url, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    app = make_app(RedisSettings.read(url=server.url))
    try:
        store.submit([a_job()])

        eventually(lambda: app.control.ping(timeout=1.0) or worker.poll() is not None)
        eventually(lambda: "RAN" in log.read_text() or worker.poll() is not None)
    finally:
        worker.kill()
        worker.wait()
    assert "RAN" in log.read_text()
    store.close()


def test_what_the_server_does_not_tell_is_named() -> None:
    untold = {
        "server": "redis",
        "max_memory_policy": None,
        "append_only": None,
        "append_fsync": None,
        "version": None,
    }

    assert len(doubts(untold)) == 1
    for words in ("eviction", "persistence", "writes to its disk", "version"):
        assert words in doubts(untold)[0]
    assert [finding.blocks for finding in judge_redis(untold)] == [False]


@pytest.mark.parametrize(
    ("server", "version", "known"),
    [
        ("redis", "6.2.23", True),
        ("redis", "6.2.24", False),
        ("redis", "7.0.15", True),  # a line that got no fix
        ("redis", "7.2.15", True),
        ("redis", "7.4.11", False),
        ("redis", "8.0.9", True),
        ("redis", "8.8.1", True),
        ("redis", "8.8.2", False),
        ("redis", "8.10.0", True),
        ("redis", "8.12.0", False),  # newer than all that is known
        ("valkey", "7.2.13", True),
        ("valkey", "8.1.9", False),
        ("valkey", "8.0.9", True),
        ("valkey", "9.0.5", False),
        ("valkey", "9.1.1", True),
        ("valkey", "9.1.2", False),
        ("valkey", "9.2.0", False),
        ("dragonfly", "1.2.3", False),
        ("redis", "nightly", False),
    ],
)
def test_a_version_with_a_known_hole_is_told(server: str, version: str, known: bool) -> None:
    told = {
        "max_memory_policy": "noeviction",
        "append_only": True,
        "append_fsync": "always",
        "durability": Durability.SECONDS,
    }
    facts = {**told, "server": server, "version": version}

    assert any("run code" in doubt or "runs code" in doubt for doubt in doubts(facts)) is known
    assert not any(finding.blocks for finding in judge_redis(facts))


def test_the_server_of_the_local_stack_has_no_known_hole(start_valkey: StartValkey) -> None:
    facts = opened(start_valkey("--appendonly", "yes")).ping()

    assert doubts(facts) == []
