"""Which lines of ComfyUI's log belong to one job, while others come and go before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from comfy.log.facts import PromptDoneFact, PromptQueuedFact
from comfy.log.lines import read_line
from farm.process.logpump import LogLine

_LATE_S: Final = 0.2  # a line is read so long after it was printed, at most


def lines_of_job(lines: Sequence[LogLine], ended_s: float) -> list[LogLine]:
    """The lines of the job that left the card at that moment, without progress bars.

    A job begins with its "got prompt", for only one is on the card; lines before that are the last words
    of the former. What is read after the job has left may still be its own, until the next "got prompt".

    Args:
        lines: from the claim of the job on; it was made when the former job had left the card.
        ended_s: monotonic.
    """
    said = [(line, read_line(line.text)) for line in lines if not line.bar]
    queued = [line.monotonic_s for line, fact in said if isinstance(fact, PromptQueuedFact)]
    # Without a single "got prompt" the log may be of a kind that is not understood.
    last_s = next((at_s for at_s in queued if at_s > ended_s), float("inf") if queued else ended_s + _LATE_S)
    own = [(line, fact) for line, fact in said if line.monotonic_s < last_s]
    came = [at for at, (_, fact) in enumerate(own) if isinstance(fact, PromptQueuedFact)]
    # It may never have come so far: then only the former's last words are not its own.
    former = [at + 1 for at, (_, fact) in enumerate(own) if isinstance(fact, PromptDoneFact)]
    began = next(iter(came or former), 0)
    return [line for line, _ in own[began:]]


def last_prompts_words(lines: Sequence[str]) -> list[str]:
    """Of a log's last lines those of its last prompt, or from after its end.

    What stands before is another job's, and may be another tenant's.
    """
    facts = [read_line(line) for line in lines]
    borders = [at for at, fact in enumerate(facts) if isinstance(fact, PromptQueuedFact | PromptDoneFact)]
    if not borders:
        return [*lines]
    return [*lines[borders[-1] + isinstance(facts[borders[-1]], PromptDoneFact) :]]
