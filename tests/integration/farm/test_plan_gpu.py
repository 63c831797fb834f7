"""``farm plan-gpu`` asks the worker's program, and passes on what it says."""

from __future__ import annotations

import json

from tests.support.farm_process import run_farm


def test_a_named_card_is_planned_for() -> None:
    answer = run_farm("plan-gpu", "--gpu", "RTX 4090", "--ram", "64", "--comfyui", "0.3.64", "--json")

    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["plan"]["mode"] == "balanced"


def test_a_card_that_nobody_knows_is_a_line_and_a_usage_error() -> None:
    answer = run_farm("plan-gpu", "--gpu", "Voodoo 2")

    assert answer.returncode == 2
    assert "no card 'Voodoo 2' is known" in answer.stderr
    assert "Traceback" not in answer.stderr
