"""Options that several commands have, declared once: a function makes one value of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

_Command = Callable[..., None]


def sharing(name: str, make: Callable[..., Any]) -> Callable[[_Command], _Command]:
    """For a command that takes `name`: it gets what `make` makes of options, which it has instead."""

    def decorate(command: _Command) -> _Command:
        shared = inspect.signature(make, eval_str=True).parameters
        own = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            made = make(**{each: given.pop(each) for each in shared})
            command(**{name: made}, **given)

        # Where the value stands in the command's signature, its options stand in the help.
        options = [*shared.values()]
        listed = [
            one for each in own.parameters.values() for one in (options if each.name == name else [each])
        ]
        # Typer reads this, and the annotations where it is older.
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in listed]
        run.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in keywords} | {"return": None}
        return run

    return decorate
