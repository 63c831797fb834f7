"""Edits of a file: written in place where nothing moves, else into a new file that replaces it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_BLOCK_BYTES: Final = 1 << 20


class Malformed(Exception):
    """The file is not built as its kind should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Other bytes in place of those from `start` up to `end`."""

    start: int
    end: int
    new: bytes = b""

    @property
    def moves(self) -> bool:
        """Whether what follows gets another place."""
        return len(self.new) != self.end - self.start

    def stands_in(self, source: Source) -> bool:
        """Whether the bytes are these already."""
        return source.read(self.start, self.end - self.start) == self.new


class Source:
    """A file to look at, by places."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def read(self, at: int, count: int) -> bytes:
        """So many bytes from there.

        Raises:
            Malformed: the file ends before.
        """
        found = self.peek(at, count)
        if len(found) != count:
            raise Malformed(f"it ends at byte {self.size}, and {count} bytes are missed at {at}")
        return found

    def peek(self, at: int, count: int) -> bytes:
        """So many bytes from there, fewer where the file ends before."""
        self._file.seek(at)
        return self._file.read(max(0, min(count, self.size - at)))

    def number(self, at: int, count: int, order: str = "big") -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.read(at, count), "little" if order == "little" else "big")


def blanked(start: int, end: int) -> Edit:
    """Zeros in place of what was there."""
    return Edit(start=start, end=end, new=bytes(end - start))


def apply(path: Path, edits: Sequence[Edit]) -> None:
    """Change the file: in place, or by a new one of the same name once that is whole.

    A file that has another name too, as an input that a node linked to its output, gets a new one: what
    stands under the other name is not ours.
    """
    ordered = sorted(edits, key=lambda edit: edit.start)
    if not any(edit.moves for edit in ordered) and path.stat().st_nlink == 1:
        with path.open("r+b") as file:
            for edit in ordered:
                file.seek(edit.start)
                file.write(edit.new)
        return
    fresh = path.with_name(f"{path.name}.stripped")
    try:
        with path.open("rb") as old, fresh.open("wb") as new:
            at = 0
            for edit in ordered:
                _copy(old, new, at, edit.start)
                new.write(edit.new)
                at = edit.end
            _copy(old, new, at, path.stat().st_size)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _copy(old: BinaryIO, new: BinaryIO, start: int, end: int) -> None:
    old.seek(start, os.SEEK_SET)
    while start < end:
        block = old.read(min(_BLOCK_BYTES, end - start))
        if not block:
            return
        new.write(block)
        start += len(block)
