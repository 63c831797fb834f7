"""The doctor of a wheel that is installed alone: no Redis, no Celery, no other package."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests" / "data" / "doctor" / "origin-450s.log"
SCRIPT = """
import importlib.util, json, sys
from comfy.doctor.diagnose import diagnose

report = diagnose(open(sys.argv[1], "rb"))
others = [name for name in ("redis", "celery", "pydantic", "boto3") if importlib.util.find_spec(name)]
print(json.dumps([report.findings[0].id, report.prompts[0].wall_s, others]))
"""


@pytest.mark.long
def test_pip_install_and_one_function_are_enough(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    (wheel,) = tmp_path.glob("*.whl")
    install = [python, "-m", "pip", "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True, timeout=300)

    done = subprocess.run(
        [python, "-I", "-c", SCRIPT, str(LOG)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert done.stderr == ""
    assert json.loads(done.stdout) == ["gguf-where-fp8-fits", pytest.approx(442, abs=1), []]
