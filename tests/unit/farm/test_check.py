"""`farm check` finds what is missing or wrong, and says what to do about it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest

from farm.check import comfyui as comfyui_checks
from farm.check.comfyui import check_comfyui, check_server
from farm.check.every import check_everything, passed
from farm.check.finding import Finding
from farm.check.health import main as health
from farm.check.machine import check_disk, check_gpu, check_python, check_video, check_wheels
from farm.check.services import (
    check_redis,
    check_s3,
    check_variables,
    judge_access,
    judge_redis,
    judge_replicas,
)
from farm.installed import how_to_install
from farm.process.child import free_port
from farm.redis_address import RedisAddress
from farm.store.redis.safety import Durability

pytestmark = pytest.mark.usefixtures("no_farm_named")

SAFE_REDIS = {
    "where": "db:6379",
    "server": "redis",
    "version": "7.2.16",
    "speaks": "7.2.16",
    "append_only": True,
    "append_fsync": "everysec",
    "append_ok": True,
    "durability": Durability.SECONDS,
    "max_memory_policy": "noeviction",
}


@pytest.fixture
def comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like ComfyUI's, named by COMFYUI_DIR."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.28.1"\n')
    monkeypatch.setenv("COMFYUI_DIR", str(folder))
    monkeypatch.setenv("COMFYUI_PYTHON", str(fake_python(tmp_path / "python", says='["2.9.1", true]')))
    return folder


def fake_python(path: Path, *, says: str, code: int = 0) -> Path:
    path.write_text(
        f"#!/bin/sh\necho '{says}'\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit {code}\n"
    )
    path.chmod(0o755)
    return path


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_misspelt_variable_is_told_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_REDIS_UR", "redis://x")

    finding = only(check_variables())

    assert finding.blocks
    assert "FARM_REDIS_UR is set" in finding.what
    assert "FARM_REDIS_URL" in finding.remedy


@pytest.mark.parametrize(
    "variable", ["FARM_LEASE_S", "FARM_LOG_LEVEL", "FARM_CLEAN_EVERY_S", "FARM_GATEWAY_STREAMS"]
)
def test_a_value_that_cannot_be_read_names_its_variable_whoever_reads_it(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "soon")

    finding = only(check_variables())

    assert finding.blocks
    assert variable in finding.what


def test_redis_that_does_not_answer_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_REDIS_URL", f"redis://:secret@127.0.0.1:{free_port()}/0")

    finding = only(check_redis(tmp_path))

    assert finding.blocks
    assert "FARM_REDIS_URL" in finding.remedy
    assert "secret" not in str(finding)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"max_memory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"speaks": "6.0.16"}, "6.0.16"),
        ({"append_only": False}, "append-only file is off"),
        ({"cluster": True}, "cluster"),
    ],
)
def test_a_redis_that_would_lose_jobs_is_found(changed: dict[str, Any], said: str) -> None:
    finding = only(judge_redis({**SAFE_REDIS, **changed}))

    assert finding.blocks
    assert said in finding.what


def test_a_redis_that_keeps_jobs_is_well() -> None:
    finding = only(judge_redis(SAFE_REDIS))

    assert finding.ok
    assert finding.what == (
        "append-only file on (everysec), noeviction; durability: seconds "
        "(a crash loses what was accepted in about the last two seconds)"
    )


def test_what_a_redis_does_not_tell_is_left_out() -> None:
    kept, doubt = judge_redis({**SAFE_REDIS, "append_fsync": None, "durability": Durability.UNKNOWN})

    assert kept.ok
    assert kept.what.startswith("append-only file on, noeviction; durability: unknown")
    assert not doubt.blocks
    assert "how often it writes to its disk" in doubt.what


def test_too_few_replicas_for_what_submit_waits_for_are_found() -> None:
    assert judge_replicas({"replicas": 0}, 0) == []
    assert only(judge_replicas({"replicas": 1}, 1)).ok
    assert "every submit would fail" in only(judge_replicas({"replicas": 0}, 1)).what


@pytest.mark.parametrize(
    ("url", "ok", "said"),
    [
        ("redis://127.0.0.1:6379/0", True, "within this machine"),
        ("redis://host:6379/0", False, "without a password"),
        ("redis://:pw@host:6379/0", False, "in the clear"),
        ("rediss://:pw@host:6379/0", True, "password and TLS"),
        ("sentinel://one:1,two:2/0?master=m", False, "one takes whoever reaches it, without a password"),
        ("sentinel://:pw@one:1,two:2/0?master=m", False, "in the clear"),
    ],
)
def test_who_may_use_redis_or_listen_is_told(url: str, ok: bool, said: str) -> None:
    finding = judge_access(RedisAddress.parse(url))

    assert (finding.ok, said in finding.what) == (ok, True)


def test_s3_that_does_not_answer_names_host_and_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("FARM_S3_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("FARM_S3_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("FARM_S3_SECRET_ACCESS_KEY", "secret-word")

    finding = only(check_s3(tmp_path))

    assert finding.blocks
    assert str(port) in finding.what
    assert "FARM_S3_ENDPOINT_URL" in finding.remedy
    assert "secret-word" not in str(finding)


def test_without_comfyui_the_emulator_is_announced_and_nothing_is_blocked() -> None:
    finding = only(check_comfyui())

    assert not finding.ok
    assert not finding.blocks
    assert "COMFYUI_DIR" in finding.remedy


def test_a_comfyui_with_a_torch_for_cuda_is_well(comfyui: Path) -> None:
    findings = check_comfyui()

    assert all(finding.ok for finding in findings)
    assert "0.28.1" in findings[0].what
    assert "2.9.1" in findings[1].what


def test_a_folder_without_main_py_is_no_comfyui(comfyui: Path) -> None:
    (comfyui / "main.py").unlink()

    finding = only(check_comfyui())

    assert finding.blocks
    assert str(comfyui) in finding.what


def test_a_comfyui_from_before_the_fixes_is_warned_of(comfyui: Path) -> None:
    (comfyui / "comfyui_version.py").write_text('__version__ = "0.3.64"\n')

    old = check_comfyui()[0]

    assert not old.ok
    assert not old.blocks
    assert "0.28.0" in old.remedy


def test_a_python_without_torch_is_found(
    comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYUI_PYTHON", str(fake_python(tmp_path / "no-torch", says="", code=1)))

    finding = check_comfyui()[1]

    assert finding.blocks
    assert "No module named 'torch'" in finding.what
    assert "COMFYUI_PYTHON" in finding.remedy


def test_a_python_that_is_not_there_is_found(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PYTHON", "/nowhere/python")

    assert check_comfyui()[1].blocks


def test_comfyuis_own_environment_is_preferred_to_ours(
    comfyui: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYUI_PYTHON")
    (comfyui / "venv" / "bin").mkdir(parents=True)
    own = fake_python(comfyui / "venv" / "bin" / "python", says='["2.8.0", true]')

    assert str(own) in check_comfyui()[1].what


def test_a_comfyui_url_that_nobody_serves_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_URL", f"http://127.0.0.1:{free_port()}")

    assert only(check_comfyui()).blocks


@pytest.mark.parametrize(
    ("printed", "ok", "blocks"),
    [
        ('{"verdict": "proven", "sentence": "as known"}', True, False),
        ('{"verdict": "unproven", "sentence": "its log is strange"}', False, False),
        ('{"verdict": "busy", "sentence": "others are before it"}', False, False),
        ('{"verdict": "unusable", "sentence": "no history"}', False, True),
        ("Traceback: no module named websocket", False, False),
    ],
)
def test_what_a_canary_found_is_told_as_it_is_grave(
    monkeypatch: pytest.MonkeyPatch, printed: str, ok: bool, blocks: bool
) -> None:
    monkeypatch.setattr(comfyui_checks, "_version_at", lambda _: ("0.99.0", ""))
    answer = subprocess.CompletedProcess([], 0, stdout=printed, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)

    _, canary = check_server("http://127.0.0.1:8188")

    assert (canary.ok, canary.blocks) == (ok, blocks)
    assert canary.ok or canary.remedy


def raising(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_a_machine_without_a_driver_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    monkeypatch.setattr(pynvml, "nvmlInit", raising(missing))

    finding = only(check_gpu())

    assert not finding.ok
    assert not finding.blocks


def test_a_driver_that_does_not_match_its_library_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    mismatch = pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    monkeypatch.setattr(pynvml, "nvmlInit", raising(mismatch))

    assert only(check_gpu()).blocks


def test_a_missing_extra_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.check.machine.find_spec", lambda _name: None)

    findings = [*check_gpu(), *check_video(), check_wheels()[-1]]

    assert [finding.remedy for finding in findings] == [
        how_to_install("worker"),
        how_to_install("worker"),
        how_to_install("flower"),
    ]
    assert not any(finding.blocks for finding in findings)


def test_a_disk_that_is_nearly_full_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.check.machine.LEAST_FREE_BYTES", 2**70)
    monkeypatch.chdir(tmp_path)

    finding = only(check_disk())

    assert finding.blocks
    assert str(tmp_path) in finding.what


def test_a_full_disk_is_told_as_that_and_before_all_that_comes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("FARM_S3_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("farm.check.machine.NO_ROOM_BYTES", 2**70)

    first = check_everything(tmp_path)[0]

    assert (first.name, first.remedy) == ("disk", "make room on it")
    assert first.what.startswith("it is full: ")


def test_this_machine_has_what_the_project_installed() -> None:
    findings = [*check_python(), *check_video(), *check_wheels()]

    assert all(finding.ok for finding in findings), findings
    assert sys.executable in findings[0].what


def test_all_checks_answer_even_when_one_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("FARM_S3_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("farm.check.every.check_python", raising(RuntimeError("boom")))

    findings = check_everything(tmp_path)

    assert not passed(findings)
    assert "boom" in findings[1].what
    assert {"Redis", "S3", "ComfyUI", "GPU", "disk"} <= {finding.name for finding in findings}


def test_a_health_check_tells_why_and_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    for arguments in (
        ["redis"],
        ["worker", "a@b"],
        ["http", f"http://127.0.0.1:{free_port()}/"],
        ["nonsense"],
    ):
        with pytest.raises(SystemExit) as ended:
            health(arguments)
        assert isinstance(ended.value.code, str)  # which the interpreter prints, and exits with 1
