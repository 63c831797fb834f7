"""One seed, played to its end: jobs and faults together, then calm, then the checker."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.arena import Arena
from tests.chaos.checker import Violation, check
from tests.chaos.history import History
from tests.chaos.nemesis import Nemesis
from tests.chaos.schedule import Fault, make_schedule

_CUT_SHORT: Final = ("lost", "failed", "released")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a seed."""

    seed: int
    history: History
    violations: list[Violation]
    faults: list[tuple[Fault, float, int]]  # kind, when, jobs in flight

    def recovery_s(self, since_s: float) -> float:
        """Longest wait of a job whose attempt a fault may have ended, until its next attempt or its end."""
        worst = 0.0
        for story in self.history.stories.values():
            under_way = (each for each in story.attempts if each.started_s < since_s < each.ended_s)
            hit = next((each for each in under_way if each.outcome in _CUT_SHORT), None)
            if hit is not None:
                later = [seen.at_s for seen in story.states if seen.attempt > hit.attempt]
                end = later[0] if later else story.states[-1].at_s
                worst = max(worst, end - since_s)
        return worst

    @property
    def wasted(self) -> int:
        """Runs beyond the one that a succeeded job needs."""
        useful = sum(story.state == "succeeded" for story in self.history.stories.values())
        return len(self.history.runs) - useful


def play(
    folder: Path, seed: int, *, jobs: int, faults: int, over_s: float, workers: int, calm_s: float
) -> Played:
    """Play a seed.

    Args:
        over_s: the seconds over which jobs and faults are spread.
        calm_s: how long everything may take to end once the last fault is over.
    """
    schedule = make_schedule(seed, faults=faults, over_s=over_s)
    with Arena(folder, workers=workers) as arena:
        nemesis = Nemesis(arena, lease_s=arena.farm.store.lease_s)
        produce = threading.Thread(target=_produce, args=(arena, jobs, over_s), daemon=True)
        arena.submit(steps=4)
        produce.start()
        nemesis.play(schedule)
        produce.join()
        arena.calm(within_s=calm_s)
        history = arena.history()
    return Played(seed=seed, history=history, violations=check(history), faults=nemesis.running)


def _produce(arena: Arena, jobs: int, over_s: float) -> None:
    pause = threading.Event()
    for number in range(1, jobs):
        arena.submit(steps=4 + number % 5 * 4)
        pause.wait(over_s / jobs / 2)
