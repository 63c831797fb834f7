"""One seed, played to its end: jobs and faults together, then calm, then the checker."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.arena import Arena
from tests.chaos.checker import Violation, check
from tests.chaos.history import History
from tests.chaos.nemesis import Nemesis, Struck
from tests.chaos.place import Exit
from tests.chaos.schedule import Fault, make_schedule
from tests.chaos.witness import calm, history_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a seed."""

    seed: int
    history: History
    violations: list[Violation]
    struck: list[Struck]
    exits: list[Exit]
    waits_for: tuple[str, ...] = ()  # what had not ended when the calm was over


def play(
    folder: Path,
    seed: int,
    *,
    jobs: int,
    faults: int,
    over_s: float,
    workers: int,
    calm_s: float,
    nodes: bool = False,
    long_s: float = 20.0,
    kinds: Sequence[Fault] = tuple(Fault),
    **store: Any,
) -> Played:
    """Play a seed.

    Args:
        over_s: the seconds over which jobs and faults are spread, if nothing holds them up.
        calm_s: how long everything may take to end once the last fault is over.
        nodes: give each worker a network namespace and a disk of its own, where root is at hand.
        long_s: how long the storage is away when it is away for long.
        store: times of the store (`StoreSettings`), in place of the short ones of a test.
    """
    schedule = make_schedule(seed, faults=faults, over_s=over_s, kinds=tuple(kinds))
    with Arena(folder, workers=workers, nodes=nodes, long_s=long_s, **store) as arena:
        nemesis = Nemesis(arena)
        arena.submit(steps=4)
        producer = threading.Thread(
            target=arena.produce,
            args=(jobs - 1, seed),
            kwargs={"mean_s": over_s * workers / jobs, "share": lambda: nemesis.share},
            daemon=True,
        )
        producer.start()
        nemesis.play(schedule)
        producer.join()
        waits_for = calm(arena, within_s=calm_s)
        history = history_of(arena)
        exits = [gone for place in arena.places for gone in place.exits]
    struck = sorted(nemesis.struck, key=lambda each: each.at_s)
    return Played(
        seed=seed,
        history=history,
        violations=check(history),
        struck=struck,
        exits=exits,
        waits_for=tuple(waits_for),
    )


def again(seed: int, *, jobs: int, faults: int, over_s: float, workers: int) -> str:
    """The command that plays a seed again."""
    numbers = f"--jobs {jobs} --faults {faults} --seconds {over_s:g} --workers {workers}"
    return f"python -m bench.chaos --seeds {seed} {numbers}"
