"""Which lines of ComfyUI's log belong to one job, while others come and go before and after it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from comfy.log.facts import LogFact, PromptDoneFact, PromptQueuedFact, ReadyFact
from comfy.log.lines import read_line
from farm.process.logpump import LogLine

log = logging.getLogger(__name__)

_LATE_S: Final = 0.2  # a line is read so long after it was printed, at most


def lines_of_job(lines: Sequence[LogLine], ended_s: float, ran_s: float | None = None) -> list[LogLine]:
    """The lines of the job that left the card at that moment, without progress bars.

    A job begins with its "got prompt", for only one is on the card; lines before that are the last words
    of the former. What is read after the job has left may still be its own, until the next "got prompt".

    Args:
        lines: from the claim of the job on; it was made when the former job had left the card.
        ended_s: monotonic.
        ran_s: when the last of its prompts began to run, monotonic: only the lines of that one are meant.
            A canary may wait behind it, or have been before it.
    """
    said = [(line, _fact(line.text)) for line in lines if not line.bar]
    queued = [line.monotonic_s for line, fact in said if isinstance(fact, PromptQueuedFact)]
    # Without a single "got prompt" the log may be of a kind that is not understood.
    last_s = next((at_s for at_s in queued if at_s > ended_s), float("inf") if queued else ended_s + _LATE_S)
    own = [(line, fact) for line, fact in said if line.monotonic_s < last_s]
    if ran_s is not None:
        return _of_prompt(own, ran_s)
    came = [at for at, (_, fact) in enumerate(own) if isinstance(fact, PromptQueuedFact)]
    # It may never have come so far: then only the former's last words are not its own.
    former = [at + 1 for at, (_, fact) in enumerate(own) if isinstance(fact, PromptDoneFact)]
    began = next(iter(came or former), 0)
    return [line for line, _ in own[began:]]


def _of_prompt(said: Sequence[tuple[LogLine, LogFact | None]], ran_s: float) -> list[LogLine]:
    """The lines of the prompt that began to run then; others may be queued meanwhile, and run before it.

    One runs at a time: its lines lie behind the end of another, or the server's start, and go to its own end.
    """
    ends = [at for at, (_, fact) in enumerate(said) if isinstance(fact, PromptDoneFact)]
    last = next((at for at in ends if said[at][0].monotonic_s >= ran_s), len(said) - 1)
    came = [
        at
        for at, (line, fact) in enumerate(said[: last + 1])
        if isinstance(fact, PromptQueuedFact) and line.monotonic_s <= ran_s
    ][-1:]
    ready = [
        at
        for at, (line, fact) in enumerate(said[: last + 1])
        if isinstance(fact, ReadyFact) and line.monotonic_s <= ran_s
    ]
    first = max([at + 1 for at in (*ends, *ready) if at < last], default=next(iter(came), 0))
    own = [line for line, fact in said[first : last + 1] if not isinstance(fact, PromptQueuedFact)]
    return [*(said[at][0] for at in came), *own]


def _fact(text: str) -> LogFact | None:
    try:
        return read_line(text)
    except Exception:
        # What became of the job is known: no line that somebody printed may undo that.
        log.exception("A line could not be read", extra={"event": "line_unreadable"})
        return None


def last_prompts_words(lines: Sequence[str]) -> list[str]:
    """Of a log's last lines those of its last prompt, or from after its end.

    What stands before is another job's, and may be another tenant's.
    """
    facts = [_fact(line) for line in lines]
    borders = [at for at, fact in enumerate(facts) if isinstance(fact, PromptQueuedFact | PromptDoneFact)]
    if not borders:
        return [*lines]
    return [*lines[borders[-1] + isinstance(facts[borders[-1]], PromptDoneFact) :]]
