"""A worker whose settings are wrong says which, and ends so that nobody starts it again."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys

import pytest

from worker.exits import EX_CONFIG

WRONG = {
    "FARM_VRAM_CLASS": "13",
    "FARM_LEASE_S": "abc",
    "FARM_LOG_LEVEL": "LOUD",
    "FARM_LOAD_MODE": "turbo",
    "FARM_REDIS_URL": "nope",
    "FARM_S3_ENDPOINT_URL": "nope",
    "FARM_LARGEST_CLIP": "1x1",
    "FARM_CLEAN_EVERY_S": "-1",
    "COMFYUI_URL": "zz",
}
WAYS = {
    "one": ("FARM_VRAM_CLASS", ["-m", "worker"]),
    "up": ("FARM_LOG_LEVEL", ["-m", "worker", "up"]),
}


@pytest.mark.parametrize("variable", WRONG)
def test_a_wrong_setting_of_any_kind_is_named_and_ends_the_worker_with_78(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, WRONG[variable])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("worker.app")

    assert ended.value.code == EX_CONFIG
    said = capsys.readouterr().err
    assert variable in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_setting_ends_the_process_with_78_however_the_worker_is_started(way: str) -> None:
    variable, arguments = WAYS[way]

    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, variable: WRONG[variable]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == EX_CONFIG, done.stderr
    assert variable in done.stderr
    assert "Traceback" not in done.stderr
