"""A whole log, read line by line: the last word on each thing, and how much of it was understood."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from comfy.log.facts import (
    AttentionFact,
    CancelFact,
    DeviceFact,
    DynamicVramFact,
    InterruptedFact,
    LogFact,
    MemoryFact,
    ModelLoadedFact,
    ModelRequestedFact,
    OffloadingFact,
    PinnedMemoryFact,
    PromptDoneFact,
    PromptQueuedFact,
    ReadyFact,
    VersionFact,
    VramStateFact,
)
from comfy.log.lines import ModelNames, Requests, is_unknown_trouble, named, read_line
from comfy.log.text import LogLevel

# What every server prints at level INFO: a log in which one of these is missing is not understood.
AT_START: Final[tuple[type[LogFact], ...]] = (
    VersionFact, MemoryFact, VramStateFact, DeviceFact, AttentionFact, ReadyFact,
)  # fmt: skip
# What is said of the whole process while it starts. Later it can only be somebody who says the same words: a
# node prints whatever text a job gives it.
_OF_THE_START: Final = (*AT_START, DynamicVramFact, OffloadingFact, PinnedMemoryFact)
_ENDS_THE_START: Final = (ReadyFact, PromptQueuedFact)
OF_A_RUN: Final[tuple[type[LogFact], ...]] = (PromptQueuedFact, PromptDoneFact)
OF_A_CANCEL: Final[tuple[type[LogFact], ...]] = (CancelFact, InterruptedFact)

_KEPT_OF_A_KIND: Final = 500
_KEPT_OF_START: Final = 100
_UNKNOWN_KEPT: Final = 20
_LONGEST_UNKNOWN: Final = 300  # characters

Fact = TypeVar("Fact", bound=LogFact)


class Printed(Protocol):
    """A line without its dress."""

    @property
    def text(self) -> str:
        """What it says."""

    @property
    def level(self) -> LogLevel | None:
        """How grave, where it is told."""

    @property
    def stamped(self) -> bool:
        """Whether it bears the mark of the server's own loggers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReading:
    """How much of a log was understood."""

    lines: int = 0  # all that were printed, progress bars apart
    known_lines: int = 0  # those that were read as facts
    heard: tuple[str, ...] = ()  # of the kinds that were expected, those that came
    missing: tuple[str, ...] = ()  # and those that did not
    unknown_warnings: tuple[str, ...] = ()  # warnings and errors that nobody knows; the latest, each once

    @property
    def known(self) -> int:
        """How many of the expected kinds came."""
        return len(self.heard)

    @property
    def of(self) -> int:
        """How many kinds were expected."""
        return len(self.heard) + len(self.missing)

    def __str__(self) -> str:
        return f"{self.known} of {self.of} kinds of line known"


def kind_of(fact: type[LogFact]) -> str:
    """A fact's kind in words: "vram state"."""
    name = fact.__name__.removesuffix("Fact")
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


class LogReader:
    """Reads lines as they come. Memory is bounded; methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[type, deque[LogFact]] = {}
        self._counts: dict[type, int] = {}
        self._lines = 0
        self._at_start: list[str] = []
        self._requests: Requests[ModelRequestedFact] = Requests()
        self._names = ModelNames()
        self._has_started = False
        self.is_stamped = False  # its loggers mark their lines, so what bears no mark was printed by a node
        # A dict keeps the order of first sight.
        self._unknown: dict[str, None] = {}

    @classmethod
    def of(cls, lines: Iterable[Printed]) -> LogReader:
        """A reader that has read these lines."""
        reader = cls()
        for line in lines:
            reader.take(line)
        return reader

    def take(self, line: Printed) -> LogFact | None:
        """Read one line; what it says, if that is known."""
        fact = read_line(line.text)
        with self._lock:
            self._lines += 1
            if fact is None or not self._is_credible(fact, line):
                self._note_unknown(line)
                return None
            if isinstance(fact, ModelRequestedFact):
                self._requests.ask(fact, line.text, self._lines)
            elif isinstance(fact, PromptDoneFact):
                self._requests.forget()
            elif isinstance(fact, ModelLoadedFact):
                fact = named(fact, self._requests.answer(line.text))
                fact = self._names.name(fact) if isinstance(fact, ModelLoadedFact) else fact
            kind = type(fact)
            if ReadyFact not in self._counts and len(self._at_start) < _KEPT_OF_START:
                self._at_start.append(line.text)
            self._facts.setdefault(kind, deque(maxlen=_KEPT_OF_A_KIND)).append(fact)
            self._counts[kind] = self._counts.get(kind, 0) + 1
            return fact

    @property
    def at_start(self) -> tuple[str, ...]:
        """The lines until it listened that were understood: what it says of itself."""
        with self._lock:
            return tuple(self._at_start)

    def _is_credible(self, fact: LogFact, line: Printed) -> bool:
        self.is_stamped = self.is_stamped or line.stamped
        if not self._has_started:
            self._has_started = isinstance(fact, _ENDS_THE_START)
            return True
        return not isinstance(fact, _OF_THE_START) and (line.stamped or not self.is_stamped)

    def last(self, kind: type[Fact]) -> Fact | None:
        """The last fact of this kind."""
        with self._lock:
            facts = self._facts.get(kind)
            last = facts[-1] if facts else None
        return last if isinstance(last, kind) else None

    def all(self, kind: type[Fact]) -> list[Fact]:
        """The facts of this kind, the oldest first; only the last ones of very many."""
        with self._lock:
            return [fact for fact in self._facts.get(kind, ()) if isinstance(fact, kind)]

    def count(self, kind: type[LogFact]) -> int:
        """How many facts of this kind came."""
        with self._lock:
            return self._counts.get(kind, 0)

    def reading(self, expected: Collection[type[LogFact]] = AT_START) -> LogReading:
        """How much has been understood so far.

        Args:
            expected: kinds that ought to have come by now.
        """
        with self._lock:
            return LogReading(
                lines=self._lines,
                known_lines=sum(self._counts.values()),
                heard=tuple(kind_of(kind) for kind in expected if kind in self._counts),
                missing=tuple(kind_of(kind) for kind in expected if kind not in self._counts),
                unknown_warnings=tuple(self._unknown),
            )

    def _note_unknown(self, line: Printed) -> None:
        if not is_unknown_trouble(line.text, line.level):
            return
        text = line.text[:_LONGEST_UNKNOWN]
        self._unknown.pop(text, None)
        self._unknown[text] = None
        if len(self._unknown) > _UNKNOWN_KEPT:
            del self._unknown[next(iter(self._unknown))]
