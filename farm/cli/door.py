"""`Door`: how commands come to a farm. A test brings one of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer
from rich.console import Console

if TYPE_CHECKING:
    from farm.client import Farm

_FILE_WIDTH = 200  # of tables that go to a file or a pipe


def make_console(*, stderr: bool = False) -> Console:
    """A console that colours nothing by itself, and is wide where no terminal says how wide it is."""
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console


@dataclass(slots=True, kw_only=True)
class Door:
    """The terminal and the way to the farm."""

    out: Console = field(default_factory=make_console)
    err: Console = field(default_factory=lambda: make_console(stderr=True))
    folder: Path | None = None  # of the local stack that `--folder` names; else it is looked for

    def farm(self) -> Farm:
        """The farm that the environment, or the local stack found from here, leads to.

        Raises:
            SettingsError: a variable is wrong.
        """
        # What only reads a graph, or tells its own help, pays for neither Redis nor S3.
        from farm.client import Farm
        from farm.settings import S3Settings
        from farm.storage import S3Patience, S3Storage
        from farm.surroundings import settings_here

        # A person at a terminal wants to hear soon that nobody answers.
        patience = S3Patience(connect_s=3.0, read_s=30.0, attempts=2)
        storage = S3Storage(settings_here(S3Settings, self.folder), patience=patience)
        return Farm(storage=storage, folder=self.folder)

    @property
    def lively(self) -> bool:
        """Whether a person looks on, so that lines may change in place."""
        return self.out.is_terminal and sys.stdout.isatty()


def say(console: Console, text: str, *, markup: bool = False) -> None:
    """A line as it is: a terminal may wrap it, a file keeps it whole."""
    console.print(text, soft_wrap=True, markup=markup, emoji=False)


def door_of(context: typer.Context) -> Door:
    """The door that a command was started with."""
    return cast("Door", context.obj)
