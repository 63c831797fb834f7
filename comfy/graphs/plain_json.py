"""Values that JSON can say, copied and checked: what may stand in a graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

MAX_BITS = 128  # of a whole number; ComfyUI's largest seed has 64
MAX_DEPTH = 50  # real inputs nest two or three deep; ComfyUI walks them recursively
_LEAVES: Final = (str, int, float)


class NotPlain(ValueError):
    """A value that cannot go into a graph; `path` leads to it from the value that was given."""

    def __init__(self, kind: str, message: str, path: tuple[str, ...]) -> None:
        super().__init__(message)
        self.kind = kind
        self.path = path


def plain(value: Any, path: tuple[str, ...] = ()) -> Any:
    """Copy a value with tuples as lists, all keys text, all numbers finite and all strings sound.

    Raises:
        NotPlain: JSON or ComfyUI could not carry it.
    """
    if len(path) > MAX_DEPTH:
        raise NotPlain("too_deep", f"the value is nested more than {MAX_DEPTH} deep", path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() <= MAX_BITS:
            return value
        raise NotPlain("not_a_number", f"a number of {value.bit_length()} bits is none for ComfyUI", path)
    if isinstance(value, str):
        return _sound(value, path)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise NotPlain("not_a_number", f"{value} is no number that ComfyUI could use", path)
    if isinstance(value, Mapping):
        return {_key(key, path): plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, (*path, str(index))) for index, item in enumerate(value)]
    raise NotPlain("not_json", f"a {type(value).__name__} is nothing that JSON can say", path)


def is_too_deep(value: Any) -> bool:
    """Whether it is nested more than `MAX_DEPTH` deep, in itself too; found out without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        # What is held in several places of one level is as deep in each.
        level = list({id(each): each for outer in level for each in _members(outer)}.values())
        if not level:
            return False
    return True


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def walk(value: Any) -> Iterator[Any]:
    """Every value in a value, and the names of its members; in no order."""
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, _LEAVES):
            continue  # most are, and to ask whether they are a mapping takes longer than all else here
        if isinstance(each, Mapping):
            waiting += each.keys()
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each


def exceeds(value: Any, most_bytes: int) -> bool:
    """Whether a value would be larger than that as JSON, found out without making any."""
    size_bytes = 0
    for each in walk(value):
        size_bytes += len(each) if isinstance(each, str) else 1
        if isinstance(each, int):
            size_bytes += each.bit_length() // 4
        if size_bytes > most_bytes:
            return True
    return False


def _key(key: object, path: tuple[str, ...]) -> str:
    if not isinstance(key, str):
        raise NotPlain("key_not_text", f"a name is text, this is {key!r}", path)
    return _sound(key, path)


def _sound(text: str, path: tuple[str, ...]) -> str:
    if "\0" in text:
        raise NotPlain("nul_in_text", "the text contains a NUL character", path)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise NotPlain("broken_text", "the text contains half of a surrogate pair", path) from exc
    return text
