"""Holds a history against the promise of `docs/guarantees.md`: pure functions, one for each sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from tests.chaos.history import History, Story

_FINAL: Final = frozenset({"succeeded", "failed", "canceled", "expired"})


class Breach(StrEnum):
    """Which sentence was broken."""

    LOST = "lost"  # accepted, and without an end
    DOUBLED = "doubled"  # more than one accepted result, or an end after the end
    ATTEMPTS = "attempts"  # their numbers do not grow, or two held the lease at once
    FENCE = "fence"  # accepted from an attempt whose lease was gone
    BYTES = "bytes"  # the result does not name what lies in the storage
    CANCEL = "cancel"  # it went on after its cancel was confirmed
    POISON = "poison"  # it took more workers than it may
    REASON = "reason"  # failed, and nobody says why
    LEFTOVER = "leftover"  # something was not cleared away


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that must not have happened."""

    breach: Breach
    job_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.breach}: {self.job_id}: {self.text}"


def check(history: History) -> list[Violation]:
    """All violations, by sentence and job; empty when the promise was kept."""
    return [violation for look in _SENTENCES for violation in look(history)]


def lost(history: History) -> Iterator[Violation]:
    """Every accepted job ends."""
    for job_id in history.accepted:
        story = history.stories.get(job_id)
        if story is None or story.state is None:
            yield Violation(
                breach=Breach.LOST, job_id=job_id, text="accepted, and the store does not know it"
            )
        elif story.state not in _FINAL:
            yield Violation(breach=Breach.LOST, job_id=job_id, text=f"still {story.state}")


def doubled(history: History) -> Iterator[Violation]:
    """It ends once, and one result counts."""
    for story in history.stories.values():
        results = sum(seen.state == "succeeded" for seen in story.states)
        if results > 1:
            text = f"{results} results were accepted"
            yield Violation(breach=Breach.DOUBLED, job_id=story.job_id, text=text)
        for before, after in pairwise(story.states):
            retried = after.state == "queued" and after.reason == "retry" and before.state != "succeeded"
            if before.state in _FINAL and not retried:
                text = f"{before.state}, and then {after.state}"
                yield Violation(breach=Breach.DOUBLED, job_id=story.job_id, text=text)


def attempts_grow(history: History) -> Iterator[Violation]:
    """Attempts have growing numbers, and no two of them hold the lease at once."""
    for story in history.stories.values():
        claims = _claims(story)
        if any(later <= earlier for earlier, later in pairwise(claims)):
            yield Violation(breach=Breach.ATTEMPTS, job_id=story.job_id, text=f"claimed as {claims}")
        for one, other in pairwise(sorted(story.attempts, key=lambda each: each.attempt)):
            if other.started_s < one.ended_s:
                text = f"attempt {other.attempt} began before {one.attempt} had ended"
                yield Violation(breach=Breach.ATTEMPTS, job_id=story.job_id, text=text)


def fenced(history: History) -> Iterator[Violation]:
    """A result counts only from the attempt that holds the lease."""
    for story in history.stories.values():
        holder = 0
        for seen in story.states:
            if seen.state == "running":
                holder = seen.attempt
            elif seen.state == "succeeded" and seen.attempt != holder:
                text = f"attempt {seen.attempt} was accepted, the lease was {_whose(holder)}"
                yield Violation(breach=Breach.FENCE, job_id=story.job_id, text=text)
            else:
                holder = 0
        gone = {each.attempt for each in story.attempts if each.outcome == "lost"}
        accepted = {each.attempt for each in story.attempts if each.outcome == "succeeded"}
        for attempt in sorted(gone & accepted):
            text = f"attempt {attempt} was lost and accepted"
            yield Violation(breach=Breach.FENCE, job_id=story.job_id, text=text)


def bytes_match(history: History) -> Iterator[Violation]:
    """What a result names lies in the storage, with those very bytes, under its own attempt."""
    for story in history.stories.values():
        if story.state == "succeeded" and not story.artifacts:
            yield Violation(breach=Breach.BYTES, job_id=story.job_id, text="a result without files")
        for artifact in story.artifacts:
            found = history.objects.get(artifact.key)
            if found is None:
                text = f"{artifact.key} is not there"
            elif found != artifact.sha256:
                text = f"{artifact.key} has other bytes than its result says"
            elif not artifact.key.startswith(story.accepted_prefix):
                text = f"{artifact.key} is not of the accepted attempt ({story.accepted_prefix})"
            else:
                continue
            yield Violation(breach=Breach.BYTES, job_id=story.job_id, text=text)


def cancels_hold(history: History) -> Iterator[Violation]:
    """Whoever was told "canceled" sees neither a result nor a run that begins later."""
    for story in history.stories.values():
        if story.cancel_confirmed_s is None:
            continue
        if story.state != "canceled":
            text = f"confirmed as canceled, and {story.state}"
            yield Violation(breach=Breach.CANCEL, job_id=story.job_id, text=text)
        for run in history.runs:
            late_s = run.started_s - story.cancel_confirmed_s
            if run.job_id == story.job_id and late_s > history.cancel_slack_s:
                text = f"{run.worker} began to run it {late_s:.1f} s after its cancel was confirmed"
                yield Violation(breach=Breach.CANCEL, job_id=story.job_id, text=text)


def poison_stops(history: History) -> Iterator[Violation]:
    """A job that kills workers is stopped after so many of them."""
    for story in history.stories.values():
        taken = sum(each.outcome == "lost" for each in story.attempts)
        if taken > history.poison_limit:
            yield Violation(breach=Breach.POISON, job_id=story.job_id, text=f"it took {taken} workers")
        if story.poison and story.state == "succeeded":
            yield Violation(breach=Breach.POISON, job_id=story.job_id, text="it was to fail, and succeeded")


def failures_say_why(history: History) -> Iterator[Violation]:
    """A failed job has its reason."""
    for story in history.stories.values():
        if story.state == "failed" and not story.error:
            yield Violation(breach=Breach.REASON, job_id=story.job_id, text="failed without a reason")


def nothing_is_left(history: History) -> Iterator[Violation]:
    """When it is calm, nothing waits, nothing is held, and no file lies about that nobody names."""
    for name, count in history.leftovers.items():
        if count:
            yield Violation(breach=Breach.LEFTOVER, job_id="-", text=f"{name}: {count}")
    for key in sorted(history.objects):
        story = _owner(history, key)
        if story is not None and not (story.accepted_prefix and key.startswith(story.accepted_prefix)):
            yield Violation(breach=Breach.LEFTOVER, job_id=story.job_id, text=f"nobody names {key}")


def count(violations: Iterable[Violation]) -> Counter[Breach]:
    """How often each sentence was broken."""
    return Counter(violation.breach for violation in violations)


_SENTENCES: Final[tuple[Callable[[History], Iterator[Violation]], ...]] = (
    lost,
    doubled,
    attempts_grow,
    fenced,
    bytes_match,
    cancels_hold,
    poison_stops,
    failures_say_why,
    nothing_is_left,
)


def _claims(story: Story) -> list[int]:
    # A cancel request is told as another "running" of the same attempt.
    claims: list[int] = []
    for before, seen in pairwise((None, *story.states)):
        if seen is not None and seen.state == "running" and (before is None or before.state != "running"):
            claims.append(seen.attempt)
    return claims


def _whose(holder: int) -> str:
    return f"that of attempt {holder}" if holder else "nobody's"


def _owner(history: History, key: str) -> Story | None:
    _, found, below = key.partition("jobs/")
    return history.stories.get(below.split("/", 1)[0]) if found else None
