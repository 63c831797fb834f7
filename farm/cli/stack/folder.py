"""`--folder`, which every command takes that has to do with a farm: the local stack that is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli.terminal.door import door_of
from farm.cli.terminal.plain_help import PlainCommand


def _remember(context: typer.Context, folder: Path | None) -> None:
    door_of(context).folder = folder


def _carrier(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The local stack's folder; default: the nearest .farm, here or above.",
            callback=_remember,
            expose_value=False,
        ),
    ] = None,
) -> None:
    """Nothing but the option: Typer makes it from here."""


class StackCommand(PlainCommand):
    """A command whose door knows the folder that `--folder` names."""

    def __init__(self, *args: Any, params: list[Any] | None = None, **given: Any) -> None:
        """As Typer makes its commands."""
        maker = typer.Typer(add_completion=False)
        maker.command()(_carrier)
        super().__init__(*args, params=[*(params or ()), *typer.main.get_command(maker).params], **given)
