"""One line of a log that says something. What it says is read when somebody asks: of a long log few do.

Lines of one shape, alike but for their digits, say the same kind of thing at the same places (`Sight`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from comfy.log.facts import BarFact, LogFact, ModelRequestedFact
from comfy.log.foreign_dress import moment
from comfy.log.lines import named, read_bar, read_line
from comfy.log.text import LogLevel

_SHOWN: Final = 400  # characters of a line that are kept as evidence


@dataclass(frozen=True, slots=True)
class Sight:
    """Where in lines of one shape what stands."""

    text: slice  # without what others put around it
    stamp: slice | None
    zone: slice | None
    level: LogLevel | None
    kind: type[LogFact] | None  # None: a warning or error that nobody knows
    source: slice | None = None


class LogEntry:
    """A line that says something, or that ought to be understood and is not."""

    __slots__ = ("_fact", "_line", "_sight", "above", "is_stamped", "kind", "later_s", "number", "requested")

    def __init__(self, number: int, line: bytes, sight: Sight) -> None:
        self.number = number  # of the line, from 1
        self.kind = sight.kind  # of its fact
        self.is_stamped = sight.stamp is not None
        self._line = line
        self._sight = sight
        self.above = b""  # of a bar: the line above its own
        self.requested: LogEntry | None = None  # the line that names the model which this one has loaded
        self._fact: LogFact | None = None
        self.later_s = 0.0  # than its stamp says, whose clock began anew

    @property
    def text(self) -> str:
        """The line, undressed and shortened."""
        return self._text.strip()[:_SHOWN]

    @property
    def dress(self) -> bytes:
        """What stands before it in its line, such as a stamp, or the return by which a bar is drawn."""
        return self._line[: self._sight.text.start]

    @property
    def level(self) -> LogLevel | None:
        """How grave, where it is told."""
        return self._sight.level

    @property
    def at_s(self) -> float | None:
        """Its stamp, in seconds; None: it has none."""
        sight = self._sight
        if sight.stamp is None:
            return None
        told_s = moment(self._line[sight.stamp], self._line[sight.zone] if sight.zone is not None else b"")
        return None if told_s is None else told_s + self.later_s

    @property
    def is_undated(self) -> bool:
        """Whether its stamp is a time of day alone."""
        stamp = self._sight.stamp
        return stamp is not None and self._line[stamp.start + 2 : stamp.start + 3] == b":"

    @property
    def source(self) -> bytes:
        """The name of the container, unit or worker whose line it is; empty: it is not told."""
        return self._line[self._sight.source] if self._sight.source is not None else b""

    @property
    def fact(self) -> LogFact | None:
        """What it says; None: nobody knows."""
        if self._fact is None and self.kind is not None:
            fact = read_bar(self._text) if self.kind is BarFact else read_line(self._text)
            requested = self.requested.fact if self.requested is not None else None
            if fact is not None and isinstance(requested, ModelRequestedFact):
                fact = named(fact, requested)
            self._fact = fact
        return self._fact

    def as_fact(self, fact: LogFact) -> LogEntry:
        """The same line, taken for this: what stands around it says what it means."""
        entry = LogEntry(self.number, self._line, replace(self._sight, kind=type(fact)))
        entry._fact = fact
        entry.later_s = self.later_s
        return entry

    @property
    def _text(self) -> str:
        return self._line[self._sight.text].decode("utf-8", "replace")
