"""Help that calls what an option takes as a person would, not as a program's types."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from typer.core import TyperCommand

_KINDS: Final[Mapping[str, str]] = {  # as Typer calls them -> as the help does
    "bool": "",  # a switch
    "str": "TEXT",
    "int": "NUMBER",
    "int range": "NUMBER",
    "float": "NUMBER",
    "float range": "NUMBER",
    "path": "PATH",
}


class PlainHelp:
    """For a command or a group of Typer's, in front of its base."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As Typer's, `--help` among them."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for each in found:
            each.display_type_rich = functools.partial(_kind, each)
        return found


class PlainCommand(PlainHelp, TyperCommand):
    """A command with plain help."""


def _kind(parameter: Any, ctx: Any) -> str | None:
    """What stands behind an option; behind an argument nothing, its name says it."""
    if parameter.metavar is not None or parameter.param_type_name == "argument":
        return parameter.metavar if parameter.param_type_name == "option" else None
    shown = str(parameter.display_type(ctx) or "").strip("<>").removeprefix("list[").removesuffix("]")
    return _KINDS.get(shown, shown) or None
