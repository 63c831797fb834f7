"""What a canary found out about a ComfyUI server, trait by trait, and what follows from it. No I/O.

`comfy.canary.flight` makes these reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final


class Trait(StrEnum):
    """One thing that the farm takes for granted of a server."""

    VERSION = "version"  # it tells its version
    NODES = "nodes"  # it describes its node classes in the form that we read
    POST = "post"  # it takes a graph, under the prompt id that we give
    HISTORY = "history"  # it tells how a prompt ended
    OUTPUT = "output"  # it names a saved file, and the file is there
    TEMP = "temp"  # it tells what is only a preview from what is a result
    QUEUE = "queue"  # it tells whether a prompt waits or runs
    CANCEL_ALONE = "cancel_alone"  # to cancel one prompt leaves the others alone
    EVENTS = "events"  # the websocket tells the course of a run
    PROGRESS = "progress"  # … and how far its nodes are
    CANCEL_QUEUED = "cancel_queued"  # a prompt that waits can be taken back
    CANCEL_RUNNING = "cancel_running"  # a prompt that runs stops when it is told to
    LOG = "log"  # its log has the lines that we read
    CLEAN_UP = "clean_up"  # nothing of a run stays behind

    @property
    def is_needed(self) -> bool:
        """Whether jobs would fail, or results be wrong, without it."""
        return self in _NEEDED


_NEEDED: Final = frozenset(
    {
        Trait.NODES,
        Trait.POST,
        Trait.HISTORY,
        Trait.OUTPUT,
        Trait.TEMP,
        Trait.QUEUE,
        Trait.CANCEL_ALONE,
    }
)


class Seen(StrEnum):
    """What became of a trait."""

    HELD = "held"
    FAILED = "failed"
    NOT_SEEN = "not seen"  # nothing speaks against it, and nothing for it


class Verdict(StrEnum):
    """What follows from a report."""

    PROVEN = "proven"
    UNPROVEN = "unproven"  # jobs run, but something that the farm goes by is not as it knows it
    UNUSABLE = "unusable"  # jobs would fail: something needed does not hold
    BUSY = "busy"  # not proven yet: others' prompts are before ours


class CancelBy(StrEnum):
    """The way in which prompts are canceled."""

    JOB = "job id"  # one call, which can reach no other prompt
    QUEUE = "queue and interrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitRow:
    """One trait, and what was seen of it."""

    trait: Trait
    seen: Seen
    expected: str  # in words
    came: str = ""  # in words; empty: what was expected, or nothing

    @property
    def is_broken(self) -> bool:
        """Whether jobs would fail because of it."""
        return self.seen is Seen.FAILED and self.trait.is_needed

    def __str__(self) -> str:
        if self.seen is Seen.FAILED:
            return f"{self.trait}: expected {self.expected}; came {self.came}"
        return f"{self.trait}: {self.seen}" + (f" ({self.came})" if self.came else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReport:
    """All that one canary found."""

    version: str  # as the server tells it; empty when it does not
    taken_for: str  # the generation of ComfyUI by whose rules it is treated
    is_newer: bool  # than all that we know, so that it is taken for the newest of them
    rows: tuple[TraitRow, ...]
    log_known: int = 0  # kinds of log lines that were found
    log_expected: int = 0  # … of so many; 0: there was no log to read
    cancel_by: CancelBy | None = None  # None: nothing was canceled
    busy: str = ""  # who is before us, when that is why it is not proven
    took_s: float = 0.0

    @property
    def broken(self) -> tuple[TraitRow, ...]:
        """What is needed and does not hold."""
        return tuple(row for row in self.rows if row.is_broken)

    @property
    def strange(self) -> tuple[TraitRow, ...]:
        """What only informs and does not hold."""
        return tuple(row for row in self.rows if row.seen is Seen.FAILED and not row.trait.is_needed)

    @property
    def verdict(self) -> Verdict:
        """What follows."""
        if self.broken:
            return Verdict.UNUSABLE
        if self.busy:
            return Verdict.BUSY
        return Verdict.UNPROVEN if self.strange else Verdict.PROVEN

    def row(self, trait: Trait) -> TraitRow | None:
        """What was seen of one trait; None: it was not looked at."""
        return next((row for row in self.rows if row.trait is trait), None)

    @property
    def sentence(self) -> str:
        """All of it in one line, for a person."""
        return f"ComfyUI {self.version or 'of unknown version'}: {'; '.join(self._parts())}"

    def _parts(self) -> Iterator[str]:
        match self.verdict:
            case Verdict.UNUSABLE:
                yield "cannot be used"
            case Verdict.BUSY:
                yield f"busy, not proven yet ({self.busy})"
            case Verdict.PROVEN | Verdict.UNPROVEN:
                newer = ", being newer than all that is known" if self.is_newer else ""
                yield f"protocol as {self.taken_for}{newer}"
        yield from (str(row) for row in (*self.broken, *self.strange) if row.trait is not Trait.LOG)
        log = self.row(Trait.LOG)
        if self.log_expected and log is not None:
            came = f", {log.came}" if log.came else ""
            yield f"log: {self.log_known} of {self.log_expected} lines known{came}"
        if self.cancel_by is not None:
            yield f"cancel by {self.cancel_by}"

    def to_json(self) -> dict[str, Any]:
        """For other programs: all of it, with what follows."""
        return {**asdict(self), "verdict": self.verdict.value, "sentence": self.sentence}
