"""Does to an arena what a schedule says, and takes it back."""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import psutil
import redis

from farm.errors import FarmError
from tests.chaos.arena import Arena
from tests.chaos.blame import BLAME
from tests.chaos.farm_faults import FarmFaults
from tests.chaos.history import Harm
from tests.chaos.place import Place
from tests.chaos.place_faults import PlaceFaults
from tests.chaos.schedule import AT_ONE_PLACE, Fault, Planned

_PATIENCE_S: Final = 4.0  # at most, for a job to run where the next fault strikes
# What a fault wants to break may be broken already.
_ALREADY_BROKEN: Final = (
    AssertionError,  # of a wait for what is not to come
    FarmError,
    redis.RedisError,
    psutil.Error,
    OSError,
    IndexError,
    StopIteration,
    ValueError,
    subprocess.SubprocessError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """A fault that was played, and whom it could hit."""

    kind: Fault
    at_s: float  # since the epoch
    running: tuple[tuple[str, int], ...]  # job and attempt, at its place or anywhere
    unended: frozenset[str]  # ids of all jobs that it could hit


class Nemesis:
    """Plays faults on an arena; those that last some time are over when `play` returns."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._at = PlaceFaults(arena).does
        self._anywhere = FarmFaults(arena).does
        self.struck: list[Struck] = []
        self.share = 0.0  # of the schedule that was played

    def play(self, planned: list[Planned]) -> None:
        """Play a schedule from now on; returns when the last fault is over."""
        threads = []
        for number, (before, each) in enumerate(pairwise((None, *planned))):
            assert each is not None
            time.sleep(each.at_s - (before.at_s if before else 0.0))
            self._await_work(self._place(each))
            # Faults overlap: each lasts as long as it lasts.
            thread = threading.Thread(target=self._do, args=(each,), daemon=True)
            thread.start()
            threads.append(thread)
            self.share = (number + 1) / len(planned)
        for thread in threads:
            thread.join()
        self.share = 1.0

    def _place(self, planned: Planned) -> Place:
        return self._arena.places[planned.target % len(self._arena.places)]

    def _await_work(self, place: Place) -> None:
        """A fault that hits nobody shows little, so the schedule waits a while for a job to be there."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and place.worker.name not in self._arena.running().values():
            time.sleep(0.05)

    def _do(self, planned: Planned) -> None:
        kind = planned.kind
        place = self._place(planned)
        self.struck.append(self._aim(kind, place))
        began_s = time.time()
        try:
            with contextlib.suppress(*_ALREADY_BROKEN):
                if kind in AT_ONE_PLACE:
                    self._at[kind](place)
                else:
                    self._anywhere[kind](random.Random(planned.target))
        finally:
            self._note(kind, place, began_s)

    def _note(self, kind: Fault, place: Place, began_s: float) -> None:
        blame = BLAME.get(kind)
        if blame is not None:
            harm = Harm(
                kind=kind,
                since_s=began_s,
                until_s=time.time() + blame.lasts_s,
                explains=blame.outcomes,
                at_claim=blame.at_claim,
                worker=place.worker.name if kind in AT_ONE_PLACE else None,
            )
            self._arena.harms.append(harm)

    def _aim(self, kind: Fault, place: Place) -> Struck:
        at_s, running = time.time(), self._arena.running()
        if kind in AT_ONE_PLACE:
            running = {each: name for each, name in running.items() if name == place.worker.name}
            unended = frozenset(job_id for job_id, _ in running)
        else:
            unended = frozenset(self._arena.unended())
        return Struck(kind=kind, at_s=at_s, running=tuple(running), unended=unended)
