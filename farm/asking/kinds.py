"""Words for arguments of another kind than they should be."""

from __future__ import annotations

from farm.errors import Problem
from farm.job import LONGEST_TITLE


def not_as_asked(value: object, field: str, wanted: str) -> Problem:
    """That `value` is not what its field "is" or "are" (`wanted`)."""
    return Problem(field=field[:LONGEST_TITLE], message=f"{wanted}, {_kind_words(value)}")


def _kind_words(value: object) -> str:
    if value is None:
        return "this is None"
    kind = type(value).__name__
    return f"not {'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
