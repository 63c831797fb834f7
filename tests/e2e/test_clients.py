"""What others wrote for Comfy API v2, as they wrote it, against what `farm up` starts.

The emulator always; a real ComfyUI too where COMFYUI_DIR names one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm.local.running import attach
from farm.local.stack import LocalStack
from tests.support.clips import make_picture

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CLIENTS = Path(__file__).parents[1] / "data" / "comfy_clients"
DEADLINE_S = 150.0


@pytest.fixture(scope="module", params=["emulator", "real"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway of a running stack."""
    environ = dict(os.environ)
    if request.param == "emulator":
        environ = {name: value for name, value in environ.items() if not name.startswith("COMFYUI_")}
        environ["FARM_EMULATOR_ARGS"] = "--step-seconds 0.01 --load-seconds 0.01"
    elif "COMFYUI_DIR" not in environ:
        pytest.skip("COMFYUI_DIR names no ComfyUI")
    folder = tmp_path_factory.mktemp(request.param) / ".farm"
    with LocalStack(folder, environ=environ):
        stack = attach(folder)
        assert stack is not None
        yield str(stack.gateway_url)


def run(command: list[str], folder: Path, address: str) -> str:
    environ = {**os.environ, "COMFY_BASE_URL": address, "COMFY_API_KEY": "any: this farm has none"}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_live_test_of_the_sdk_for_python_passes_unchanged(address: str, tmp_path: Path) -> None:
    shutil.copy(CLIENTS / "test_gateway_e2e.py.txt", tmp_path / "test_gateway_e2e.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # nothing of ours has a say in it

    told = run([sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis"], tmp_path, address)

    # What it expects to fail elsewhere, an asset in a graph, passes here.
    assert "3 passed, 1 xpassed" in told


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Node finds `@comfyorg/sdk`."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no Node")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "every_call.mjs"):
        shutil.copy(CLIENTS / name, folder)
    command = [
        "npm",
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
        "--fetch-retries=1",
    ]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=DEADLINE_S, check=True)
    except subprocess.SubprocessError as exc:
        pytest.skip(f"npm cannot install it here: {exc}")
    return folder


def test_the_sdk_for_node_does_every_call(address: str, node_folder: Path, tmp_path: Path) -> None:
    picture = make_picture(tmp_path / "fox.png")

    told = run(["node", "every_call.mjs", str(picture)], node_folder, address)

    seen: dict[str, Any] = json.loads(told.splitlines()[-1])
    assert seen == {
        "dedup": [True, True, False],
        "asset": ["fox.png", True, None],
        "events": [seen["events"][0], "statusChange", "succeeded"],
        "job": ["succeeded", 1, "succeeded", "api"],
        "output": {
            "facts": ["image", "image/png", True, True],
            "size": [True, True],
            "head": "\x89PNG\r\n\x1a\n",
            "link": True,
        },
        "chained": ["succeeded", True],
        "canceled": seen["canceled"],
        "refused": ["invalid_workflow", "missing_asset", "not_found"],
        "deleted": "not_found",
    }
    assert {"outputReady", "statusChange"} <= set(seen["events"][0])
    # Its end may come first; either way the client learns how the job stands.
    assert seen["canceled"] in (
        ["canceling", "job_failed"],
        ["canceled", "job_failed"],
        ["succeeded", "no error"],
    )
