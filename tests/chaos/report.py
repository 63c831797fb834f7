"""The tables of a campaign: what each kind of fault did, and what became of each seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.campaign import Played
from tests.chaos.checker import Breach, count, orphans
from tests.chaos.history import Story
from tests.chaos.nemesis import Struck
from tests.chaos.schedule import Fault

# Drained, killed, ended while it started, ended by its own watchdog, refused because a server was away.
_EXITS = frozenset({0, -9, -15, 75, 78})
_CUT_SHORT = frozenset({"lost", "failed", "released", "unpublished"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All times that one kind of fault was played."""

    kind: Fault
    times: int
    in_flight: int  # attempts that ran at its place when it began, or anywhere when it hits the whole farm
    lost: int  # jobs that it could hit and that have no end
    doubled: int
    wasted: int  # renders of those attempts that were begun and not accepted
    recovery_s: float  # longest time from a fault until a job that it cut short ran again, or ended


def lines(played: Sequence[Played]) -> list[Line]:
    """One for each kind of fault. Faults overlap, so one render may be wasted on account of several."""
    found = []
    for kind in sorted({struck.kind for each in played for struck in each.struck}):
        pairs = [(each, struck) for each in played for struck in each.struck if struck.kind is kind]
        found.append(
            Line(
                kind=kind,
                times=len(pairs),
                in_flight=sum(len(struck.running) for _, struck in pairs),
                lost=sum(_broken(each, struck, Breach.LOST) for each, struck in pairs),
                doubled=sum(_broken(each, struck, Breach.DOUBLED) for each, struck in pairs),
                wasted=sum(_wasted(each, struck) for each, struck in pairs),
                recovery_s=max(_recovery_s(each, struck) for each, struck in pairs),
            )
        )
    return found


def by_fault(played: Sequence[Played]) -> str:
    """The table of faults."""
    head = (
        f"{'fault':<16} {'times':>5} {'jobs in flight':>14} {'lost':>5} {'doubled':>7} "
        f"{'wasted renders':>14} {'worst recovery':>14}"
    )
    rows = [
        f"{line.kind:<16} {line.times:>5} {line.in_flight:>14} {line.lost:>5} {line.doubled:>7} "
        f"{line.wasted:>14} {line.recovery_s:>12.1f} s"
        for line in lines(played)
    ]
    return "\n".join([head, *rows])


def by_seed(played: Sequence[Played]) -> str:
    """The table of seeds."""
    head = (
        f"{'seed':<6} {'jobs':>5} {'faults':>6} {'kinds':>5} {'lost':>5} {'doubled':>7} "
        f"{'other breaches':>14} {'wasted renders':>14} {'orphaned files':>14}  ended"
    )
    return "\n".join([head, *(_seed(each) for each in played), _sum(played)])


def _seed(played: Played) -> str:
    broken = count(played.violations)
    states = Counter(story.state for story in played.history.stories.values())
    ended = ", ".join(f"{number} {state}" for state, number in sorted(states.items(), key=str))
    kinds = len({struck.kind for struck in played.struck})
    return (
        f"{played.seed:<6} {len(played.history.stories):>5} {len(played.struck):>6} {kinds:>5} "
        f"{broken[Breach.LOST]:>5} {broken[Breach.DOUBLED]:>7} {_others(broken):>14} "
        f"{wasted_renders(played):>14} {_orphaned(played):>14}  {ended}"
    )


def _sum(played: Sequence[Played]) -> str:
    broken = count(violation for each in played for violation in each.violations)
    jobs = sum(len(each.history.stories) for each in played)
    faults = sum(len(each.struck) for each in played)
    kinds = len({struck.kind for each in played for struck in each.struck})
    return (
        f"{'all':<6} {jobs:>5} {faults:>6} {kinds:>5} {broken[Breach.LOST]:>5} {broken[Breach.DOUBLED]:>7} "
        f"{_others(broken):>14} {sum(map(wasted_renders, played)):>14} "
        f"{sum(map(_orphaned, played)):>14}"
    )


def wasted_renders(played: Played) -> int:
    """Runs that were begun beyond the one that each succeeded job needs."""
    useful = sum(story.state == "succeeded" for story in played.history.stories.values())
    return len(played.history.runs) - useful


def odd_exits(played: Played) -> Iterable[str]:
    """Workers that ended as none should."""
    for gone in played.exits:
        if gone.code not in _EXITS:
            yield f"{gone.worker} ended with code {gone.code}:\n    " + "\n    ".join(gone.last_words)


def _orphaned(played: Played) -> int:
    return sum(1 for _ in orphans(played.history))


def _others(broken: Counter[Breach]) -> int:
    return broken.total() - broken[Breach.LOST] - broken[Breach.DOUBLED]


def _broken(played: Played, struck: Struck, breach: Breach) -> int:
    return len({each.job_id for each in played.violations if each.breach is breach} & struck.unended)


def _wasted(played: Played, struck: Struck) -> int:
    begun = {(run.job_id, run.attempt) for run in played.history.runs}
    accepted = {
        (story.job_id, each.attempt)
        for story in played.history.stories.values()
        for each in story.attempts
        if each.outcome == "succeeded"
    }
    return len(set(struck.running) & begun - accepted)


def _recovery_s(played: Played, struck: Struck) -> float:
    waits = [0.0]
    for job_id, attempt in struck.running:
        story = played.history.stories.get(job_id)
        if story is not None and _outcome(story, attempt) in _CUT_SHORT:
            waits.append(_next_step_s(story, attempt) - struck.at_s)
    return max(waits)


def _outcome(story: Story, attempt: int) -> str | None:
    return next((each.outcome for each in story.attempts if each.attempt == attempt), None)


def _next_step_s(story: Story, attempt: int) -> float:
    later = [seen.at_s for seen in story.states if seen.attempt > attempt]
    return later[0] if later else story.states[-1].at_s
