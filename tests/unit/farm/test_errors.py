"""What a person reads where a value is refused: our words, whoever found the fault."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from farm import RedisSettings
from farm.cli.main import run
from farm.cli.terminal.door import Door, PlainConsole
from farm.errors import FarmError, StatusUnreadable
from farm.job import make_spec, spec_from_json
from farm.status.worker import WorkerStatus

TYPED: list[list[str]] = [
    ["submit", "-t", "wan22-t2v-a14b", "--accept", "bogus"],
    ["optimize", "-t", "wan22-t2v-a14b", "--attention", "bogus"],
    ["ls", "--state", "bogus"],
    ["cancel", "--state", "bogus"],
    ["ls", "--limit", "0"],
    ["priority", "x", "--to", "11"],
]
REFUSALS: dict[str, Callable[[], Any]] = {
    "a field of a job": lambda: make_spec({"graph": {}, "requirements": {"vram_gib": 7}}),
    "a stored job": lambda: spec_from_json('{"graph": {}, "requirements": {"vram_gib": 7}}'),
    "a setting": lambda: RedisSettings.read(url="http://nowhere"),
    "a status": lambda: WorkerStatus.from_json('{"name": 1}'),
}


@pytest.mark.parametrize("words", TYPED, ids=" ".join)
def test_a_wrong_value_of_an_option_is_told_without_names_of_error_kinds(words: list[str]) -> None:
    err = io.StringIO()

    code = run(words, door=Door(err=PlainConsole(file=err)))

    assert code == 2
    assert words[-2] in err.getvalue()
    assert "alue error" not in err.getvalue()


@pytest.mark.parametrize("refused", REFUSALS.values(), ids=list(REFUSALS))
def test_a_wrong_value_of_a_program_is_told_without_names_of_error_kinds(refused: Callable[[], Any]) -> None:
    with pytest.raises((FarmError, StatusUnreadable)) as told:
        refused()

    assert "alue error" not in str(told.value)
