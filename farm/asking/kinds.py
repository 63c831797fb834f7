"""Words for arguments of another kind than they should be."""

from __future__ import annotations

from comfy.graphs.faults import kind_in_json
from farm.errors import Problem
from farm.job import LONGEST_TITLE


def not_as_asked(value: object, field: str, wanted: str) -> Problem:
    """That `value` is not what its field "is" or "are" (`wanted`)."""
    return Problem(field=field[:LONGEST_TITLE], message=f"{wanted}, not {kind_in_json(value)}")
