"""Tables whose members all run in one test."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def for_each(names: str, members: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `pytest.mark.parametrize`, but one test: for members by the dozen that take a millisecond each.

    As tests of their own they cost several more, in every process of a run. All members run, whichever
    fail, and each failure names its member. They share fixtures: none may leave anything for the next.
    """
    several = [name.strip() for name in names.split(",")]
    table = [tuple(member) if len(several) > 1 else (member,) for member in members]
    assert table, "a table without members shows nothing"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            failed = []
            for values in table:
                member = dict(zip(several, values, strict=True))
                try:
                    test(**member, **fixtures)
                except Exception as exc:
                    exc.add_note(", ".join(f"{name}={value!r:.200}" for name, value in member.items()))
                    failed.append(exc)
            if failed:
                raise ExceptionGroup(f"{len(failed)} of {len(table)} members failed", failed)

        signature = inspect.signature(test)
        left = [each for each in signature.parameters.values() if each.name not in several]
        run.__dict__["__signature__"] = signature.replace(parameters=left)
        return run

    return decorate
