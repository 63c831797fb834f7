"""The help of each command: examples that the command takes, and `--json` wherever something is printed."""

from __future__ import annotations

import re
import shlex

import pytest

from farm.cli.commands import COMMANDS, whole
from farm.cli.examples import EXAMPLES
from farm.cli.main import run
from farm.cli.terminal.door import Door
from tests.support.tables import for_each
from tests.support.terminal import a_console

SERVE = {"steward", "metrics", "gateway"}  # run until they are told to end


def typed(example: str) -> list[str]:
    """The words after `farm`."""
    command = example.removeprefix('eval "$(').removesuffix(')"')
    program, *words = shlex.split(command)
    assert program == "farm"
    return words


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_shows_how_it_is_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    door = Door(out=a_console(), err=a_console())

    assert run([name, "--help"], door=door) == 0

    shown = " ".join(capsys.readouterr().out.split())
    assert EXAMPLES[name]
    assert all(" ".join(example.split()) in shown for example in EXAMPLES[name])


@for_each("example", [each for examples in EXAMPLES.values() for each in examples])
def test_an_example_is_what_its_command_takes(example: str) -> None:
    name, *words = typed(example)

    whole(name).make_context(name, words, obj=Door())


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_names_what_options_take_in_words(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*([name] if name else []), "--help"], door=Door()) == 0

    shown = capsys.readouterr().out
    assert "--help" in shown
    assert re.findall(r"<(?:str|bool|int|float|path|list)\b|list\[|\|None", shown) == []


@for_each("name", [name for name in COMMANDS if name not in SERVE])
def test_a_command_that_prints_can_print_json(name: str) -> None:
    assert any("--json" in option.opts for option in whole(name).params)
