"""The producer and the command line against a real Valkey and a real S3, right and wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.aio import AsyncFarm
from farm.asking.request import JobRequest
from farm.client import Farm
from farm.job import JobState
from farm.notifier import store_at
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.store.base import Claim
from farm.store.roles import AttemptStore
from tests.support.clips import PNG_HEAD
from tests.support.environment import environment_of, environment_of_others
from tests.support.farm_process import ROOT, run_farm
from tests.support.fleet import PICTURE, TEMPLATE, announce, wan_graph
from tests.support.jobs import a_result
from tests.support.s3 import S3Server
from tests.support.valkey import ValkeyServer

CLIP = ("submit", "--template", TEMPLATE, "-p", "prompt=a fox")


@pytest.fixture
def redis_settings(valkey_url: str, namespace: str) -> RedisSettings:
    """A farm of this test's own."""
    return RedisSettings.read(url=valkey_url, namespace=namespace)


@pytest.fixture
def real_farm(redis_settings: RedisSettings, s3_settings: S3Settings) -> Farm:
    """Redis and S3 as they are."""
    return Farm(redis=redis_settings, s3=s3_settings)


def command(
    *arguments: str, redis: RedisSettings, s3: S3Settings, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run `farm` as a person does."""
    settings = {**environment_of(redis), **environment_of(s3), "PYTHONPATH": str(ROOT)}
    return run_farm(*arguments, environ={**environment_of_others(), **settings}, cwd=cwd)


def test_a_thousand_jobs_are_stored_in_order_and_held_against_the_fleet(
    real_farm: Farm, redis_settings: RedisSettings
) -> None:
    announce(store_at(redis_settings))

    with real_farm as farm:
        jobs = farm.submit_many(
            JobRequest(template=TEMPLATE, parameters={"prompt": f"take {n}", "seed": n}) for n in range(1200)
        )
        listed = [job.job_id for job in farm.list()]
        waiting = farm.counts().by_state[JobState.QUEUED]

    assert listed == [job.job_id for job in reversed(jobs)]
    assert waiting == 1200


def test_async_waiters_hear_of_every_end(redis_settings: RedisSettings, s3_settings: S3Settings) -> None:
    def work(store: AttemptStore, job_ids: list[str]) -> None:
        for job_id in job_ids:
            assert isinstance(store.claim(job_id, worker="w1"), Claim)
            store.succeed(job_id, 1, a_result())

    async def body() -> list[JobState]:
        async with asyncio.timeout(60), AsyncFarm(redis=redis_settings, s3=s3_settings) as farm:
            jobs = await farm.submit_many([JobRequest(graph=wan_graph())] * 200)
            waiting = [asyncio.create_task(job.wait()) for job in jobs]
            worker = store_at(redis_settings)
            await asyncio.to_thread(work, worker, [job.job_id for job in jobs])
            done = await asyncio.gather(*waiting)
            worker.close()
            return [job.state for job in done]

    assert asyncio.run(body()) == [JobState.SUCCEEDED] * 200


def test_the_command_line_queues_lists_and_cancels(
    redis_settings: RedisSettings, s3_settings: S3Settings, tmp_path: Path
) -> None:
    def farm(*arguments: str) -> str:
        done = command(*arguments, redis=redis_settings, s3=s3_settings, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    job_id = farm(*CLIP).strip()

    assert job_id[:12] in farm("ls")
    assert farm("cancel", job_id[:10]) == f"{job_id} canceled\n"


def test_a_wrong_redis_password_is_told_in_one_line(
    start_valkey: Callable[..., ValkeyServer], s3_settings: S3Settings, tmp_path: Path
) -> None:
    server = start_valkey(password="right")
    wrong = RedisSettings.read(url=server.url.replace("right", "wrong-one"))

    done = command(*CLIP, redis=wrong, s3=s3_settings, cwd=tmp_path)

    assert done.returncode == 5
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "FARM_REDIS_URL" in done.stderr
    assert "wrong-one" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"secret_access_key": "wrong"}, "FARM_S3_SECRET_ACCESS_KEY"),
        ({"bucket": "no-such-bucket"}, "FARM_S3_BUCKET"),
    ],
)
def test_an_s3_that_refuses_is_told_in_one_line_and_no_job_is_stored(
    redis_settings: RedisSettings,
    s3_server: S3Server,
    tmp_path: Path,
    changes: dict[str, object],
    setting: str,
) -> None:
    graph, picture = tmp_path / "graph.json", tmp_path / "start.png"
    graph.write_text(json.dumps(PICTURE))
    picture.write_bytes(PNG_HEAD)
    wrong = s3_server.settings(**changes)

    done = command(
        "submit", str(graph), "--input", f"1.image={picture}", redis=redis_settings, s3=wrong, cwd=tmp_path
    )

    assert done.returncode == 5
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"127.0.0.1:{s3_server.port}" in done.stderr
    assert setting in done.stderr
    assert list(Farm(redis=redis_settings, s3=wrong).list()) == []
