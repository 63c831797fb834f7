"""The README's examples work: each is run as it stands, over one local stack in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from comfy.wan.templates import get_template
from farm.local import LocalStack

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
DEADLINE_S = 120.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Each command of the console examples; `farm up` is the stack that the others need."""
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if not line.endswith("farm up")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("readme")
    graph = (
        get_template("wan22-t2v-a14b").build(prompt="x", preset="draft", width=64, height=64, frames=9).graph
    )
    (folder / "workflow_api.json").write_text(json.dumps(graph))
    Image.new("RGB", (64, 48), "orange").save(folder / "fox.png")
    environ = {**os.environ, "FARM_EMULATOR_ARGS": "--step-seconds 0.01 --load-seconds 0.01"}
    with LocalStack(folder / ".farm", environ=environ):
        yield folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def test_there_are_examples_to_run() -> None:
    assert len(commands()) >= 7
    assert len(blocks("python")) >= 4


def test_the_python_examples_work(folder: Path) -> None:
    # One after the other in one program: a later example may go on with what an earlier one made.
    program = "\n".join(blocks("python"))

    done = run([sys.executable, "-W", "error", "-c", program], folder)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "77 or 81" in done.stdout
    assert list((folder / "clips").glob("*.mp4"))


@pytest.mark.parametrize("command", commands())
def test_a_command_example_works(command: str, folder: Path) -> None:
    done = run(["sh", "-ec", command], folder)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
