"""What somebody's type checker sees of the farm once its wheel is installed."""

from __future__ import annotations

import json
import re
import site
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent

SCRIPT = """
import asyncio
from pathlib import Path
from typing import assert_type

import farm
import worker.errors
from comfy.errors import ComfyError
from farm import AsyncFarm, Farm, Job, JobFailed, JobRequest, JobState

assert_type(farm.__version__, str)

with Farm() as f:
    paths = f.render(template="wan22-t2v-a14b", parameters={"prompt": "a fox"}, folder="clips", priority=0)
    assert_type(paths, list[Path])
    job = f.submit("graph.json", {"prompt": "a fox"}, labels=["a"])
    assert_type(job.record.state, JobState)
    assert_type(f.submit_many([JobRequest("graph.json", labels=["a"], priority=3)]), list[Job])
    try:
        assert_type(job.wait(timeout_s=600).result().main.size_bytes, int)
    except (JobFailed, ComfyError, worker.errors.WorkerError) as exc:
        print(exc)


async def render() -> list[Path]:
    async with AsyncFarm() as f:
        job = await f.submit(template="wan22-t2v-a14b")
        assert_type(job.record.state, JobState)
        return await (await job.result()).download("clips")


assert_type(asyncio.run(render()), list[Path])
"""
MISTAKEN = """
from farm import Farm, JobRequest

Farm().submit("graph.json", colour="red")
JobRequest("graph.json", urgency=1)
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of whoever installed the wheel and wrote two scripts.

    To unpack it is to install it: nothing in it has to be built.
    """
    folder = tmp_path_factory.mktemp("user")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    venv.create(folder / "venv", with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "venv" / "lib" / version / "site-packages"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(packages)
    # Dependencies only: what a .pth file adds is not searched for further ones, such as that of this tree.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    for name, text in (("script.py", SCRIPT), ("mistaken.py", MISTAKEN)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def told(user: Path, tool: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What a type checker says of both scripts: it reads the packages once for them."""
    return subprocess.run(
        [TOOLS / tool, *options, user / "venv" / "bin" / "python", "script.py", "mistaken.py"],
        cwd=user,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def test_mypy_knows_every_type_of_a_users_script_and_no_option_that_does_not_exist(user: Path) -> None:
    done = told(user, "mypy", "--strict", "--config-file=", "--python-executable")

    assert done.returncode == 1, done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 2
    for name, error in zip(("colour", "urgency"), errors, strict=True):
        assert error.startswith("mistaken.py:")
        assert f'Unexpected keyword argument "{name}"' in error


def test_pyright_knows_every_type_of_a_users_script_and_no_option_that_does_not_exist(user: Path) -> None:
    done = told(user, "basedpyright", "--outputjson", "--pythonpath")

    found: list[Mapping[str, str]] = json.loads(done.stdout)["generalDiagnostics"]
    errors = [each for each in found if each["severity"] == "error"]  # warnings are matters of taste
    assert len(errors) == 2
    for name, error in zip(("colour", "urgency"), errors, strict=True):
        assert Path(error["file"]).name == "mistaken.py"
        assert name in error["message"]


def test_the_wheel_installs_the_names_that_the_readme_lists(user: Path) -> None:
    with zipfile.ZipFile(next(user.glob("*.whl"))) as wheel:
        names = {name.split("/")[0] for name in wheel.namelist()}
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    listed = re.search(r"The wheel installs (.*?) at the top level and no other name", readme)

    assert listed is not None
    assert {name for name in names if not name.endswith(".dist-info")} == set(
        re.findall("`(.*?)`", listed[1])
    )
