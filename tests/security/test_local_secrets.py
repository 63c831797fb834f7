"""What lies on this machine is its owner's: the stack's folder, its state, the worker's memory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from farm.errors import SettingsError, StackError
from farm.local.state import STATE_FILE, FolderLock, Passwords, StackState, read_state, write_state
from farm.process.identity import ProcessId
from farm.settings.environment import FromEnvironment
from farm.settings.groups import known_variables
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.settings.worker import WorkerSettings

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


def state() -> StackState:
    owner = ProcessId(pid=1, started="now")
    return StackState(owner=owner, passwords=Passwords.generate(), ports={}, environment={})


def test_the_folder_and_its_state_are_for_the_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)

    lock = FolderLock.take(folder)
    write_state(folder, state())
    lock.release()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / STATE_FILE).stat().st_mode) == 0o600
    assert read_state(folder) is not None


@as_root
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)

    with pytest.raises(StackError, match="belongs to another user"):
        FolderLock.take(tmp_path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_state_that_others_may_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    write_state(tmp_path, state())
    (tmp_path / STATE_FILE).chmod(mode)

    assert read_state(tmp_path) is None


@as_root
def test_a_state_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    write_state(tmp_path, state())
    os.chown(tmp_path / STATE_FILE, 12345, 12345)

    assert read_state(tmp_path) is None


def test_a_state_behind_a_link_is_not_believed(tmp_path: Path) -> None:
    write_state(tmp_path, state())
    (tmp_path / STATE_FILE).rename(tmp_path / "elsewhere")
    (tmp_path / STATE_FILE).symlink_to(tmp_path / "elsewhere")

    assert read_state(tmp_path) is None


LOOKED_AT = """
import ctypes
from farm.process.privacy import close_to_others
close_to_others()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_memory_and_environment_of_a_worker_are_closed_to_its_own_user() -> None:
    told = subprocess.run([sys.executable, "-c", LOOKED_AT], capture_output=True, text=True, check=True)

    assert told.stdout == "0\n"  # PR_GET_DUMPABLE: /proc/<pid>/environ and mem are root's


def test_the_app_of_a_worker_closes_itself() -> None:
    source = (Path(__file__).parents[2] / "worker" / "app.py").read_text()

    assert "\nclose_to_others()\n" in source


SECRET_VARIABLES = (
    (RedisSettings, "FARM_REDIS_URL", "redis://:s3cret@host", "url"),
    (S3Settings, "FARM_S3_ACCESS_KEY_ID", "s3cret", "access_key_id"),
    (S3Settings, "FARM_S3_SECRET_ACCESS_KEY", "s3cret", "secret_access_key"),
    (S3Settings, "BUCKET_SECRET_ACCESS_KEY", "s3cret", "secret_access_key"),
    (WorkerSettings, "COMFYUI_URL", "http://me:s3cret@host", "comfyui_url"),
)


@pytest.mark.parametrize(("group", "variable", "value", "field"), SECRET_VARIABLES)
def test_a_secret_may_stand_in_a_file(
    group: type[FromEnvironment],
    variable: str,
    value: str,
    field: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(variable, raising=False)
    (tmp_path / "secret").write_text(f"{value}\n")
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "secret"))

    settings = group.read()

    assert getattr(settings, field).get_secret_value() == value
    assert f"{variable}_FILE" in known_variables()
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(("group", "variable", "value", "field"), SECRET_VARIABLES)
def test_a_file_that_cannot_be_read_is_told_by_its_variable(
    group: type[FromEnvironment], variable: str, value: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(f"{variable}_FILE", "/nowhere/secret")

    with pytest.raises(SettingsError, match=f"{variable}_FILE"):
        group.read()
    monkeypatch.setenv(variable, value)
    assert getattr(group.read(), field).get_secret_value() == value
