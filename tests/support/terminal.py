"""A terminal of strings, for tests of the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from farm.cli.main import run
from farm.cli.terminal.door import Door, PlainConsole
from farm.client import Farm


def a_console(*, terminal: bool = False, width: int = 200, colours: str | None = "auto") -> PlainConsole:
    """A console whose text can be read; `colours` as rich has them."""
    return PlainConsole(file=io.StringIO(), width=width, force_terminal=terminal, color_system=colours)


def text_of(console: PlainConsole) -> str:
    """All that was ever written on it."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@dataclass(slots=True, kw_only=True)
class MemoryDoor(Door):
    """The way from a terminal to a farm of the test's own."""

    make: Callable[[], Farm]

    def farm(self) -> Farm:
        """That farm."""
        return self.make()


@dataclass(kw_only=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as one JSON document."""
        return json.loads(self.out)


def say(make: Callable[[], Farm], *arguments: object, width: int = 200) -> Ended:
    """Run one command over that farm to its end."""
    door = MemoryDoor(make=make, out=a_console(width=width), err=a_console(width=width))
    code = run([str(argument) for argument in arguments], door=door)
    return Ended(code=code, out=text_of(door.out), err=text_of(door.err))
