"""What pydantic finds wrong in what a caller sends, in words for who writes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic_core import ErrorDetails

from farm.errors import in_words

_TEXT, _WHOLE, _NUMBER = "has to be a text", "has to be a whole number", "has to be a number"
_SWITCH, _OBJECT, _LIST = "has to be true or false", "has to be an object", "has to be a list"
_TIME: Final = "has to be a time with its zone, as 2030-01-31T12:00:00Z"

# Kind of the error -> words, with what pydantic tells of it.
_WORDS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "string_type": _TEXT,
    "string_unicode": "holds half of a surrogate pair",
    "string_too_short": "has to have {min_length} characters at least",
    "string_too_long": "has to have {max_length} characters at most",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _SWITCH),
    **dict.fromkeys(("dict_type", "mapping_type", "dataclass_type", "dataclass_exact_type"), _OBJECT),
    **dict.fromkeys(("tuple_type", "list_type"), _LIST),
    "too_long": "has to have {max_length} entries at most",
    "greater_than": "has to be more than {gt:g}",
    "greater_than_equal": "has to be {ge:g} or more",
    "less_than": "has to be less than {lt:g}",
    "less_than_equal": "has to be {le:g} or less",
    **dict.fromkeys(("enum", "literal_error"), "has to be {expected}"),
    **dict.fromkeys(
        (
            *("datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"),
            *("timezone_aware", "timezone_offset"),
        ),
        _TIME,
    ),
}


def fault_in_words(error: ErrorDetails) -> str:
    """One fault, without the field that has it."""
    words = _WORDS.get(error["type"])
    return in_words(error["msg"]) if words is None else words.format(**error.get("ctx", {}))
