"""Encoding on the card is tried for real, in a child that may do what it likes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from worker.gpu import nvenc
from worker.gpu.nvenc import try_nvenc


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine may have the encoder")
def test_without_a_card_the_encoder_is_listed_and_yet_refused_in_words() -> None:
    found = try_nvenc("GPU-none")

    assert not found.usable
    assert found.reason.startswith(("the driver refuses", "this PyAV is built without"))


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ('#!/bin/sh\necho \'{"usable": true, "reason": "\'$CUDA_VISIBLE_DEVICES\'"}\'\n', "GPU-7"),
        ("#!/bin/sh\nkill -SEGV $$\n", "ended with -11"),
        ("#!/bin/sh\necho nonsense\n", "no word"),
    ],
)
def test_whatever_the_child_does_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, words: str
) -> None:
    child = tmp_path / "python"
    child.write_text(program)
    child.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(child))

    found = try_nvenc("GPU-7")

    assert words in found.reason
    assert found.usable == (words == "GPU-7")


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "python"
    child.write_text("#!/bin/sh\nexec sleep 60\n")
    child.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(child))
    monkeypatch.setattr(nvenc, "TIMEOUT_S", 0.2)

    found = try_nvenc(None)

    assert not found.usable
    assert "did not end" in found.reason
