"""Who waited while others were begun that had to wait for it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.history import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wait:
    """A time during which a job could have been claimed."""

    story: Story
    since_s: float
    until_s: float
    claimed_by: str | None  # the worker, when it ended with a claim and is known
    claimed: bool
    not_by: frozenset[str] = frozenset()  # workers that failed it before, and leave it to others


def passed_over(stories: Iterable[Story]) -> Iterator[tuple[Story, Story, float]]:
    """Each job that was passed over: by whom first, and for how many seconds only such jobs were begun.

    Of the jobs of one queue the more urgent have to go first, and of the equally urgent the older. A message
    that was lost lets others by until it is announced again; what must not be is that it goes on and on.
    """
    by_queue: dict[str, list[_Wait]] = defaultdict(list)
    for story in stories:
        by_queue[story.queue] += _waits(story)
    for waits in by_queue.values():
        claims = sorted((wait for wait in waits if wait.claimed), key=lambda wait: wait.until_s)
        times = [claim.until_s for claim in claims]
        for wait in waits:
            meanwhile = claims[bisect_right(times, wait.since_s) : bisect_left(times, wait.until_s)]
            yield from _longest(
                wait.story, [each for each in meanwhile if each.claimed_by not in wait.not_by]
            )


def _longest(story: Story, meanwhile: Iterable[_Wait]) -> Iterator[tuple[Story, Story, float]]:
    """The longest row of claims in which nobody had a right to go before it."""
    rows: list[list[_Wait]] = [[]]
    for claim in meanwhile:
        if _rank(claim.story) > _rank(story):
            rows[-1].append(claim)
        elif rows[-1]:
            rows.append([])
    longest = max(
        (row for row in rows if row), key=lambda row: row[-1].until_s - row[0].until_s, default=None
    )
    if longest:
        yield story, longest[0].story, longest[-1].until_s - longest[0].until_s


def _rank(story: Story) -> tuple[int, float]:
    return story.priority, story.submitted_s


def _waits(story: Story) -> Iterator[_Wait]:
    workers = {each.attempt: each.worker for each in story.attempts}
    for before, after in pairwise(story.states):
        if before.state == "queued" and not before.held:
            yield _Wait(
                story=story,
                since_s=before.at_s + before.retry_in_s,
                until_s=after.at_s,
                claimed=after.state == "running",
                claimed_by=workers.get(after.attempt),
                not_by=story.failed_on(before.at_s),
            )
