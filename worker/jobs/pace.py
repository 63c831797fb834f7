"""How long a job will still take, as far as its progress tells: for a worker that drains."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from farm.job import PUBLISHING, Progress

PUBLISH_S: Final = 5.0  # for upload and commit, as long as nothing better is known
_NEARLY_DONE: Final = frozenset({"vae", "interpolate", "save", PUBLISHING})


class Pace:
    """Takes the progress of one job as it comes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, float] | None = None  # when, and which fraction was done
        self._latest: tuple[float, Progress] | None = None

    def note(self, progress: Progress) -> None:
        """The job is so far."""
        now = self._clock()
        # Loading models says nothing about the pace of what follows.
        if self._first is None and progress.step:
            self._first = (now, progress.fraction)
        self._latest = (now, progress)

    def left_s(self) -> float | None:
        """Seconds until its result is committed; None when nothing can be said yet."""
        if self._latest is None:
            return None
        at, progress = self._latest
        since = self._clock() - at
        if progress.phase in _NEARLY_DONE:
            return 0.0 if progress.phase == PUBLISHING else PUBLISH_S
        if self._first is None:
            return None
        began, before = self._first
        if progress.fraction > before:
            left_s = (1.0 - progress.fraction) * (at - began) / (progress.fraction - before)
        elif progress.eta_s is not None:
            left_s = progress.eta_s
        else:
            return None
        return max(left_s - since, 0.0) + PUBLISH_S
