"""What was read of the environment is there no more: not for children, nor for who reads it from outside."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farm.process.privacy import forget
from farm.settings.groups import secret_variables

LOOKED_AT = """
import os, pathlib, subprocess
from farm.process.privacy import forget
forget(["FIRST", "SECOND", "NEVER_SET", "EMPTY"])
print("s3cret" in pathlib.Path("/proc/self/environ").read_text(errors="replace"))
print("s3cret" in subprocess.run(["env"], capture_output=True, text=True).stdout)
print([name for name in ("FIRST", "SECOND", "EMPTY") if name in os.environ], os.environ["OTHER"])
print("OTHER=stays" in pathlib.Path("/proc/self/environ").read_text(errors="replace"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_neither_children_nor_proc_show_what_was_forgotten() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOOKED_AT],
        env={**os.environ, "FIRST": "s3cret-1", "SECOND": "ü s3cret-2", "EMPTY": "", "OTHER": "stays"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.splitlines() == ["False", "False", "[] stays", "True"]


def test_a_variable_that_was_set_later_is_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_LATER", "s3cret")

    forget(["SET_LATER"])

    assert "SET_LATER" not in os.environ


def test_every_variable_of_a_secret_is_known() -> None:
    assert secret_variables() == {
        "FARM_REDIS_URL",
        "FARM_S3_ACCESS_KEY_ID",
        "BUCKET_ACCESS_KEY_ID",
        "FARM_S3_SECRET_ACCESS_KEY",
        "BUCKET_SECRET_ACCESS_KEY",
        "COMFYUI_URL",
        "COMFYUI_TOKEN",
        "FARM_INPUT_PROXY",
    }
