"""The arguments of public calls: what is of another kind than a call says is refused by its name.

The rule for every public call of this package: what it is given gives a result, or an error of `farm.errors`.
A `TypeError` says that the call itself is wrong: it has no such argument, or one is missing.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import re
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from farm.errors import InvalidArgument
from farm.limits import short

_Class = TypeVar("_Class", bound=type)
_MOST_WRITTEN_BITS: Final = 10_000  # Python refuses to write numbers of more than 4,300 digits
_MOST_BITS: Final = 63  # of a whole number: beyond that no clock, no count and no Redis goes
_WORDS: Final[Mapping[Any, str]] = {
    str: "a text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    datetime: "a time with its zone",
    Path: "a path",
    types.NoneType: "None",
}


@dataclass(frozen=True, slots=True)
class Only:
    """Beside a kind in `Annotated`: which of its values an argument can be."""

    fits: Callable[[Any], object]
    words: str


Cursor = Annotated[str, Only(re.compile(r"[0-9]{1,20}").fullmatch, "the `next_cursor` of a page")]
EventId = Annotated[str, Only(re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?").fullmatch, "the id of an event")]
Many = Annotated[int, Only(range(1, 10_001).__contains__, "a number from 1 to 10,000")]
Gib = Annotated[float, Only(lambda size: 1 <= size <= 100_000, "a card's size in GiB")]


def checks_arguments(cls: _Class) -> _Class:
    """Have the public methods of a class refuse what is of another kind than their annotations say.

    Raises (each method):
        InvalidArgument: names the argument.
    """
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
            setattr(cls, name, _checking(member))
    return cls


def check_argument(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is of another kind.

    Raises:
        InvalidArgument: it is.
    """
    if not _fits(value, hint):
        raise InvalidArgument(name, f"is {_words(hint)}, not {_shown(value)}")


def _checking(method: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(method, "__wrapped__"):  # of a class that has checked them
        return method
    signature = inspect.signature(method)

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = signature.bind(*args, **kwargs).arguments
        for name, hint in _hints_of(method).items():
            if name in given:
                check_argument(name, given[name], hint)

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def ask(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return await method(*args, **kwargs)

        return ask

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        return method(*args, **kwargs)

    return call


@functools.cache
def _hints_of(method: Callable[..., Any]) -> Mapping[str, Any]:
    """The kinds of a method's arguments; not of those that go on as they are, to be judged elsewhere."""
    kept = {
        name: each.annotation
        for name, each in inspect.signature(method).parameters.items()
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and each.annotation is not each.empty
    }
    # What a method returns may be known to type checkers alone.
    namespace = types.SimpleNamespace(__annotations__=kept)
    return get_type_hints(namespace, globalns=method.__globals__, include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is Annotated:
        return _fits(value, inner[0]) and all(bool(only.fits(value)) for only in inner[1:])
    if isinstance(origin, type):
        return _fits_many(value, origin, inner)
    if hint is Any or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return True
    return _fits_one(value, hint)


def _fits_many(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    if not isinstance(value, kind):
        return False
    if isinstance(value, Mapping):
        return issubclass(kind, Mapping) and all(
            _fits(name, inner[0]) and _fits(each, inner[1]) for name, each in value.items()
        )
    if isinstance(value, str | bytes):  # a text is no list of letters
        return False
    # Of an iterator nothing is taken: what it gives is judged where it is used.
    return not isinstance(value, Collection) or all(_fits(each, inner[0]) for each in value)


def _fits_one(value: Any, kind: type) -> bool:
    if kind is float:
        return _fits_one(value, int) or (isinstance(value, float) and not math.isnan(value))
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return False
    if isinstance(value, int):
        return value.bit_length() <= _MOST_BITS
    if isinstance(value, datetime):
        return value.utcoffset() is not None
    return not isinstance(value, str | Path) or _is_sound(str(value))


def _is_sound(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, inner)))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is Annotated:
        return str(inner[1].words)
    if origin is collections.abc.Callable:
        return "a function"
    if isinstance(origin, type):
        return "names with values" if issubclass(origin, Mapping) else f"a list, each {_words(inner[0])}"
    return _WORDS.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _shown(value: Any) -> str:
    if isinstance(value, float | datetime | None):
        return str(value)
    kind = type(value).__name__
    if isinstance(value, int) and value.bit_length() > _MOST_WRITTEN_BITS:
        return f"a number of {value.bit_length():,} bits"
    if isinstance(value, str | int):
        return short(repr(value), longest=50)
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
