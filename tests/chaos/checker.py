"""Holds a history against the promise of `docs/guarantees.md`: pure functions, one for each sentence."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from tests.chaos.history import FINAL, AttemptSeen, Bounds, Harm, History, Run, Story
from tests.chaos.turns import passed_over


class Breach(StrEnum):
    """Which sentence was broken."""

    LOST = "lost"  # accepted, and without an end
    DOUBLED = "doubled"  # more than one accepted result, an end after the end, or two jobs for one key
    ATTEMPTS = "attempts"  # their numbers do not grow, or two held the lease at once
    FENCE = "fence"  # accepted from an attempt whose lease was gone
    BYTES = "bytes"  # the result does not name what lies in the storage
    CANCEL = "cancel"  # it went on after its cancel was confirmed
    POISON = "poison"  # it took more workers than it may
    REASON = "reason"  # failed, and nobody says why, or the job was blamed for what was done to it
    CAUSE = "cause"  # an attempt that came to nothing, or a run too many, and no fault that explains it
    ORDER = "order"  # it waited while others, less urgent or younger, were begun
    RECOVERY = "recovery"  # it was left with a dead worker
    LEFTOVER = "leftover"  # something was not cleared away


# Kinds of errors that say "this job cannot work"; every job of a campaign can.
_OWN_FAULT: Final = frozenset({"job", "place", "time_limit"})


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
        elif story.state not in FINAL:
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
            if before.state in FINAL and not retried:
                text = f"{before.state}, and then {after.state}"
                yield Violation(breach=Breach.DOUBLED, job_id=story.job_id, text=text)
    known: dict[str, str] = {}
    for key, job_id in history.submissions:
        if known.setdefault(key, job_id) != job_id:
            text = f"key {key} stands for {known[key]} as well"
            yield Violation(breach=Breach.DOUBLED, job_id=job_id, text=text)


def attempts_grow(history: History) -> Iterator[Violation]:
    """Attempts have growing numbers, and no two of them hold the lease at once."""
    for story in history.stories.values():
        claims = _claims(story)
        if any(later <= earlier for earlier, later in pairwise(claims)):
            yield Violation(breach=Breach.ATTEMPTS, job_id=story.job_id, text=f"claimed as {claims}")
        for seen, after in pairwise(story.states):
            # A cancel request is told as another "running" of the same attempt.
            if seen.state == after.state == "running" and seen.attempt != after.attempt:
                text = f"claimed as attempt {after.attempt} while attempt {seen.attempt} held it"
                yield Violation(breach=Breach.ATTEMPTS, job_id=story.job_id, text=text)
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
            if run.job_id == story.job_id and late_s > history.bounds.cancel_slack_s:
                text = f"{run.worker} began to run it {late_s:.1f} s after its cancel was confirmed"
                yield Violation(breach=Breach.CANCEL, job_id=story.job_id, text=text)


def poison_stops(history: History) -> Iterator[Violation]:
    """A job that kills workers is stopped after so many of them."""
    for story in history.stories.values():
        taken = Counter(
            each.publishing for each in story.attempts if each.outcome == "lost" and _deaths_of(each, history)
        )
        if taken[False] > history.bounds.lost_workers or taken[True] > history.bounds.lost_publishing:
            yield Violation(
                breach=Breach.POISON, job_id=story.job_id, text=f"it took {taken.total()} workers"
            )
        if story.poison and story.state == "succeeded":
            yield Violation(breach=Breach.POISON, job_id=story.job_id, text="it was to fail, and succeeded")


def failures_say_why(history: History) -> Iterator[Violation]:
    """A failed job has its reason, and a sound one is not blamed for what was done to it."""
    for story in history.stories.values():
        if story.state != "failed":
            continue
        if not story.error:
            yield Violation(breach=Breach.REASON, job_id=story.job_id, text="failed without a reason")
        elif not story.poison and (text := _unjust(story, history)):
            yield Violation(breach=Breach.REASON, job_id=story.job_id, text=f"{text}: {story.error}")


def _unjust(story: Story, history: History) -> str:
    """Why a sound job ought not to have failed yet, as far as its attempts tell; empty when it was due."""
    bounds = history.bounds
    failed = [each for each in story.attempts if each.outcome == "failed"]
    if story.error_kind in _OWN_FAULT:
        # A node that raised at two places is taken for the graph's fault; each has its own explanation.
        twice = story.error_kind == "job" and len({each.worker for each in failed}) > 1
        return "" if twice else "failed as if it were at fault itself"
    if story.error_kind == "poison":
        lost_attempts = [each for each in story.attempts if each.outcome == "lost"]
        judged_s = max((each.ended_s for each in story.attempts), default=0.0)
        gone = [each for each in lost_attempts if _is_gone(each, history, judged_s)]
        publishing = sum(each.publishing for each in gone)
        on_machines = sum(each.error_kind == "machine" for each in failed)
        due = (
            len(gone) - publishing >= bounds.lost_workers
            or publishing >= bounds.lost_publishing
            or on_machines >= bounds.machine_failures
        )
        lived = ", ".join(
            f"{each.worker} of attempt {each.attempt}" for each in lost_attempts if each not in gone
        )
        return "" if due else f"failed as poison, and these workers lived and could have said so: {lived}"
    counted = sum(each.error_kind not in ("machine", "place") for each in failed)
    return "" if counted >= story.max_attempts else f"failed after {counted} of {story.max_attempts} attempts"


def attempts_explained(history: History) -> Iterator[Violation]:
    """No attempt comes to nothing without a fault that hit it."""
    for story in history.stories.values():
        for each in story.attempts:
            asked = each.outcome == "canceled" and story.state == "canceled"
            if each.outcome == "succeeded" or asked or story.poison:
                continue
            if not any(_explains(harm, story, each, history.bounds) for harm in history.harms):
                text = f"attempt {each.attempt} on {each.worker} was {each.outcome}, and no fault explains it"
                yield Violation(breach=Breach.CAUSE, job_id=story.job_id, text=text)


def repeats_explained(history: History) -> Iterator[Violation]:
    """Nothing is rendered again without a fault that hit the render before."""
    by_job: dict[str, list[Run]] = defaultdict(list)
    for run in history.runs:
        by_job[run.job_id].append(run)
    for job_id, runs in by_job.items():
        story = history.stories.get(job_id)
        if story is None or story.poison:
            continue
        for before, run in pairwise(sorted(runs, key=lambda each: each.started_s)):
            if not any(_cuts_short(harm, before, run, history.bounds) for harm in history.harms):
                text = f"rendered again on {run.worker} after {before.worker}, and no fault explains it"
                yield Violation(breach=Breach.CAUSE, job_id=job_id, text=text)


def _explains(harm: Harm, story: Story, seen: AttemptSeen, bounds: Bounds) -> bool:
    is_claimed_then = harm.since_s - bounds.reach_s <= seen.started_s
    # A worker that did not hear of what it was given gives it back with its next claim.
    is_given_back = seen.outcome == "released" and "lost" in harm.explains and is_claimed_then
    return (
        (seen.outcome in harm.explains or is_given_back)
        and harm.worker in (None, seen.worker)
        and harm.job_id in (None, story.job_id)
        and harm.since_s <= seen.ended_s
        and seen.started_s <= harm.until_s + bounds.reach_s
        and (not harm.at_claim or is_claimed_then)
    )


def _cuts_short(harm: Harm, before: Run, run: Run, bounds: Bounds) -> bool:
    return (
        bool(harm.explains)
        and harm.worker in (None, before.worker)
        and harm.job_id in (None, before.job_id)
        and harm.since_s <= run.started_s
        and before.started_s <= harm.until_s + bounds.reach_s
    )


def turns_kept(history: History) -> Iterator[Violation]:
    """The more urgent first, then the older; nobody waits for ever while those behind are begun."""
    for story, by, waited_s in passed_over(history.stories.values()):
        if waited_s > history.bounds.passed_over_s:
            text = f"for {waited_s:.1f} s only such were begun that had to wait for it, {by.job_id} first"
            yield Violation(breach=Breach.ORDER, job_id=story.job_id, text=text)


def recovered_in_time(history: History) -> Iterator[Violation]:
    """A job is taken from a dead worker once its lease has run out, and begun by whoever is free."""
    bounds = history.bounds
    for story in history.stories.values():
        for each in story.attempts:
            deaths = _deaths_of(each, history)
            if each.outcome != "lost" or not deaths:
                continue
            allowed_s = bounds.lease_s + bounds.repair_s + bounds.slack_s
            # Power that went took back what had been repaired meanwhile.
            back = (harm.until_s for harm in history.harms if harm.kind == "power")
            since_s = max([min(deaths), *(at_s for at_s in back if at_s <= each.ended_s)])
            taken_s = _calm_s(history.outages, since_s, each.ended_s)
            if taken_s > allowed_s:
                text = f"attempt {each.attempt} stayed with a dead worker for {taken_s:.1f} s"
                yield Violation(breach=Breach.RECOVERY, job_id=story.job_id, text=text)
            kept_from = story.failed_on(each.ended_s)
            others = history.able.keys() - kept_from
            idle_s = _idle_beside(history, others, each.ended_s, _next_step_s(story, each.attempt))
            if idle_s > bounds.repair_s + bounds.slack_s + (bounds.contested_s if kept_from else 0.0):
                text = f"attempt {each.attempt} was lost, and then a free worker stood by for {idle_s:.1f} s"
                yield Violation(breach=Breach.RECOVERY, job_id=story.job_id, text=text)


def nothing_is_left(history: History) -> Iterator[Violation]:
    """When it is calm, nothing waits, nothing is held, and no file lies about that nobody names."""
    for name, count in history.leftovers.items():
        if count:
            yield Violation(breach=Breach.LEFTOVER, job_id="-", text=f"{name}: {count}")
    for story, key in orphans(history) if history.cleared else ():
        yield Violation(breach=Breach.LEFTOVER, job_id=story.job_id, text=f"nobody names {key}")


def orphans(history: History) -> Iterator[tuple[Story, str]]:
    """Files of attempts that were not accepted, and whose job they are of."""
    for key in sorted(history.objects):
        story = _owner(history, key)
        if story is not None and not (story.accepted_prefix and key.startswith(story.accepted_prefix)):
            yield story, key


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
    attempts_explained,
    repeats_explained,
    turns_kept,
    recovered_in_time,
    nothing_is_left,
)


def _deaths_of(seen: AttemptSeen, history: History) -> list[float]:
    """When its worker died while it ran."""
    return [
        death.at_s
        for death in history.deaths
        if death.worker == seen.worker and seen.started_s <= death.at_s <= seen.ended_s
    ]


def _is_gone(seen: AttemptSeen, history: History, judged_s: float) -> bool:
    """Whether the store heard nothing of a lost attempt's worker until it judged the job.

    One that is cut off is as silent as a dead one: it may be heard of later, or die before that.
    """
    heard_s = max(
        (
            harm.until_s + history.bounds.reach_s
            for harm in history.harms
            if harm.worker == seen.worker and _explains_silence(harm, seen, history.bounds)
        ),
        default=-math.inf,
    )
    ends = (end.at_s for end in (*history.deaths, *history.exits) if end.worker == seen.worker)
    return heard_s >= judged_s or any(seen.started_s <= at_s <= max(heard_s, seen.ended_s) for at_s in ends)


def _explains_silence(harm: Harm, seen: AttemptSeen, bounds: Bounds) -> bool:
    return "lost" in harm.explains and harm.since_s <= seen.ended_s <= harm.until_s + bounds.reach_s


def _next_step_s(story: Story, attempt: int) -> float:
    """When the next attempt began, or the job ended."""
    later = (seen.at_s for seen in story.states if seen.attempt > attempt or seen.state in FINAL)
    return next(later, math.inf)


def _idle_beside(history: History, workers: Iterable[str], since_s: float, until_s: float) -> float:
    """For how long of that time one of the workers could work, reached the store, and had no job."""
    free: list[tuple[float, float]] = []
    for worker in workers:
        busy = sorted(
            (each.started_s, each.ended_s)
            for story in history.stories.values()
            for each in story.attempts
            if each.worker == worker
        )
        for begin_s, end_s in history.able[worker]:
            free += _without(max(begin_s, since_s), min(end_s, until_s), [*busy, *history.outages])
    return _covered_s(free, since_s, until_s)


def _calm_s(outages: Iterable[tuple[float, float]], since_s: float, until_s: float) -> float:
    return until_s - since_s - _covered_s(outages, since_s, until_s)


def _without(
    since_s: float, until_s: float, taken: Iterable[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """What is left of a span."""
    for begin_s, end_s in sorted(taken):
        if begin_s >= until_s:
            break
        if since_s < begin_s:
            yield since_s, begin_s
        since_s = max(since_s, end_s)
    if since_s < until_s:
        yield since_s, until_s


def _covered_s(spans: Iterable[tuple[float, float]], since_s: float, until_s: float) -> float:
    """How much of the time between two moments spans cover; where they overlap it counts once."""
    covered_s, upto_s = 0.0, since_s
    for begin_s, end_s in sorted(spans):
        covered_s += max(0.0, min(end_s, until_s) - max(begin_s, upto_s))
        upto_s = max(upto_s, end_s)
    return covered_s


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
