"""The local stack is found from the folders below it, and only by its owner."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from farm.check.comfyui import check_comfyui
from farm.cli.main import run
from farm.local.running import attach, local_environment, stack_folder, why_silent
from farm.local.state import Passwords, StackState, write_state
from farm.local.surroundings import settings_here
from farm.process.identity import identify
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.settings.worker import WorkerSettings

pytestmark = pytest.mark.usefixtures("no_farm_named")

REDIS_URL = "redis://:se'cret@127.0.0.1:7777/0"
ENVIRONMENT = {
    "FARM_REDIS_URL": REDIS_URL,
    "FARM_NAMESPACE": "night",
    "FARM_S3_ENDPOINT_URL": "http://127.0.0.1:7778",
    "FARM_S3_REGION": "us-east-1",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a stack runs (this process), with folders below it; we stand in the lowest."""
    (tmp_path / "clips" / "today").mkdir(parents=True)
    a_stack(tmp_path / ".farm", worker={"COMFYUI_DIR": "/opt/comfy", "FARM_WORKER_DIR": "/data/workers"})
    monkeypatch.chdir(tmp_path / "clips" / "today")
    return tmp_path


def a_stack(folder: Path, *, worker: Mapping[str, str] | None = None, stopped: bool = False) -> None:
    folder.mkdir(parents=True)
    owner = identify(os.getpid())
    assert owner is not None
    state = StackState(
        owner=owner,
        passwords=Passwords.generate(),
        ports={},
        environment=ENVIRONMENT,
        worker=dict(worker or {}),
        stopped=stopped,
    )
    write_state(folder, state)


def test_a_stack_is_found_from_a_folder_below_its_own(home: Path) -> None:
    assert stack_folder() == home / ".farm"
    assert attach() is not None
    assert settings_here(RedisSettings).namespace == "night"


def test_the_nearest_stack_counts_even_when_it_does_not_run(home: Path) -> None:
    a_stack(home / "clips" / ".farm", stopped=True)

    assert stack_folder() == home / "clips" / ".farm"
    assert local_environment() == {}


def test_where_no_stack_ever_ran_the_folder_is_the_one_that_would_be_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".farm" / "templates").mkdir(parents=True)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    assert stack_folder() == Path(".farm")


def test_the_stack_of_somebody_else_is_not_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: home.stat().st_uid + 1)

    assert stack_folder() == Path(".farm")


def test_a_named_folder_counts_wherever_one_stands(home: Path) -> None:
    a_stack(home / "other")

    assert local_environment(home / "other")["FARM_NAMESPACE"] == "night"
    assert local_environment(home / "nothing") == {}


def test_whoever_names_a_redis_gets_nothing_of_the_stacks_workers(home: Path) -> None:
    found = local_environment(environ={"FARM_REDIS_URL": "redis://elsewhere"})

    assert set(found) == {"FARM_S3_ENDPOINT_URL", "FARM_S3_REGION"}


def test_a_worker_in_the_folder_has_the_stacks_comfyui_and_a_folder_of_its_own(home: Path) -> None:
    settings = settings_here(WorkerSettings)

    assert settings.comfyui_dir == Path("/opt/comfy")
    assert settings.data_dir == Path("/data/workers")


def test_farm_check_looks_at_the_comfyui_of_the_stack(home: Path) -> None:
    (finding,) = check_comfyui()

    assert "/opt/comfy" in finding.what


def test_a_region_of_aws_does_not_replace_that_of_the_stack(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    assert settings_here(S3Settings).region == "us-east-1"


def test_farm_env_is_what_a_shell_reads(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env"]) == 0

    script = capsys.readouterr().out + 'printf %s "$FARM_REDIS_URL $COMFYUI_DIR"'
    assert subprocess.check_output(["sh", "-c", script], text=True) == f"{REDIS_URL} /opt/comfy"


def test_farm_env_says_when_no_stack_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env", "--folder", str(home / "nothing")]) == 6

    assert f"no stack runs in {home / 'nothing'}" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize(
    ("room_bytes", "words"), [(0, "and its last words in "), (2**70, "is full: make room there")]
)
def test_a_stack_whose_disk_is_full_is_silent_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int, words: str
) -> None:
    monkeypatch.setattr("farm.local.running.NO_ROOM_BYTES", room_bytes)

    assert words in why_silent(tmp_path)
