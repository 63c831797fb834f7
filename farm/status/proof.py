"""Whether a worker's ComfyUI runs as it was planned, as the worker found it; `farm workers` shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from comfy.log.reading import LogReading


class ProofVerdict(StrEnum):
    """What was found."""

    PROVEN = "proven"  # the log was understood, and nothing speaks against the plan
    DIFFERS = "differs"  # it runs otherwise than planned
    UNPROVEN = "unproven"  # nothing speaks against the plan, but the log does not say enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was seen, and what that means for the plan."""

    verdict: ProofVerdict = ProofVerdict.UNPROVEN
    differences: tuple[str, ...] = ()  # in words; not empty: it differs
    # What lines of jobs say against the plan where anybody may have printed them: told, and no verdict.
    seen_in_jobs: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()  # what the log ought to have said and did not, in words
    vram_state: str | None = None  # "NORMAL_VRAM", …; None: the log does not say
    device: str | None = None
    attention: str | None = None
    dynamic_vram: bool | None = None
    partial_loads: int = 0  # models that did not fit, and stream a part of their weights in each step
    log: LogReading | None = None  # None: of a worker that did not count yet

    def with_doubts(self, doubts: Iterable[str]) -> Proof:
        """The same, and what else speaks against it that is no difference from the plan, in words."""
        unproven = (*self.unproven, *doubts)
        doubtful = unproven and self.verdict is ProofVerdict.PROVEN
        return replace(self, verdict=ProofVerdict.UNPROVEN if doubtful else self.verdict, unproven=unproven)

    @property
    def holds(self) -> bool:
        """Whether it certainly runs as planned."""
        return self.verdict is ProofVerdict.PROVEN

    def __str__(self) -> str:
        match self.verdict:
            case ProofVerdict.PROVEN:
                return "as planned"
            case ProofVerdict.DIFFERS:
                return f"not as planned: {'; '.join(self.differences)}"
            case ProofVerdict.UNPROVEN:
                return f"unproven: {'; '.join(self.unproven)}"
