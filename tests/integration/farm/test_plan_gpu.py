"""``farm plan-gpu`` asks the worker's program, and passes on what it says."""

from __future__ import annotations

import json
import subprocess
import sys


def plan_gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "farm.cli", "plan-gpu", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_named_card_is_planned_for() -> None:
    answer = plan_gpu("--gpu", "RTX 4090", "--ram", "64", "--comfyui", "0.3.64", "--json")

    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["plan"]["mode"] == "balanced"


def test_a_card_that_nobody_knows_is_a_line_and_a_usage_error() -> None:
    answer = plan_gpu("--gpu", "Voodoo 2")

    assert answer.returncode == 2
    assert "no card 'Voodoo 2' is known" in answer.stderr
    assert "Traceback" not in answer.stderr
