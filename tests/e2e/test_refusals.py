"""A worker that cannot work says so in one line, and leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from farm.process.child import free_port
from tests.support.s3 import S3Server
from tests.support.valkey import ValkeyServer
from tests.support.whole_farm import START_S, WholeFarm, WorkerProcess
from worker.exits import EX_CONFIG, EX_TEMPFAIL

Farms = Callable[..., WholeFarm]


def refusal(worker: WorkerProcess) -> str:
    """The reason that the worker gives; it has ended with a code that says so, and without a traceback."""
    assert worker.child.wait(START_S) != 0, worker.log
    assert "Traceback" not in worker.log
    told = [entry for entry in worker.told("worker_refused") if entry["level"] == "CRITICAL"]
    assert len(told) == 1, worker.log
    reason = str(told[0]["reason"])
    assert "\n" not in reason
    return reason


def test_a_wrong_password_of_redis(start_valkey: Callable[..., ValkeyServer], new_farm: Farms) -> None:
    valkey = start_valkey(password="right")
    farm = new_farm(redis_url=valkey.url.replace("right", "wrong"))

    reason = refusal(farm.launch())

    assert f"127.0.0.1:{valkey.port}" in reason
    assert "FARM_REDIS_URL" in reason
    assert "wrong@" not in reason


def test_a_redis_that_does_not_answer(new_farm: Farms) -> None:
    port = free_port()

    worker = new_farm(redis_url=f"redis://127.0.0.1:{port}/0").launch()
    reason = refusal(worker)

    assert f"127.0.0.1:{port}" in reason
    assert "FARM_REDIS_URL" in reason
    assert worker.child.poll() == EX_TEMPFAIL  # it may be back soon: to be started again


def test_a_wrong_secret_of_s3(new_farm: Farms, s3_server: S3Server) -> None:
    farm = new_farm(s3=s3_server.settings(secret_access_key="wrong-secret"))

    reason = refusal(farm.launch())

    assert f"{s3_server.host}:{s3_server.port}" in reason
    assert "FARM_S3_SECRET_ACCESS_KEY" in reason
    assert "wrong-secret" not in reason


def test_a_bucket_that_does_not_exist(new_farm: Farms, s3_server: S3Server) -> None:
    worker = new_farm(s3=s3_server.settings(bucket="nowhere")).launch()
    reason = refusal(worker)

    assert "nowhere" in reason
    assert "FARM_S3_BUCKET" in reason
    assert worker.child.poll() == EX_CONFIG  # only a person can mend it


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_is_no_comfyui(new_farm: Farms, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "ComfyUI"
    if there:
        folder.mkdir()

    reason = refusal(new_farm().launch(COMFYUI_DIR=str(folder)))

    assert str(folder) in reason
    assert "COMFYUI_DIR" in reason


def test_an_argument_that_comfyui_does_not_take(new_farm: Farms) -> None:
    reason = refusal(new_farm().launch(emulator="--no-such-flag"))

    assert "--no-such-flag" in reason
    assert "FARM_EMULATOR_ARGS" in reason


def test_a_folder_that_another_worker_has(new_farm: Farms) -> None:
    farm = new_farm()
    first = farm.start_worker("a")
    second = farm.launch("a")

    reason = refusal(second)

    assert str(first.folder) in reason
    assert first.name in reason
    assert first.child.poll() is None
