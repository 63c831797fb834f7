"""How long a job will still take, as far as its progress tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from comfy.protocol.phases import Phase
from farm.job import PUBLISHING, Progress

PUBLISH_S: Final = (
    5.0  # for upload and commit, as a worker counts that drains: better too long than too short
)
_NEARLY_DONE: Final = frozenset({Phase.VAE, Phase.FRAMES, Phase.SAVE, PUBLISHING})


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

    def rendered_in_s(self) -> float | None:
        """Seconds until its files are finished; None when nothing can be said."""
        if self._latest is None or self._first is None:
            return None
        at, progress = self._latest
        began, before = self._first
        if progress.phase in _NEARLY_DONE:
            return None
        if progress.fraction > before:
            left_s = (1.0 - progress.fraction) * (at - began) / (progress.fraction - before)
        elif progress.eta_s is not None:
            left_s = progress.eta_s
        else:
            return None
        return max(left_s - (self._clock() - at), 0.0)

    def left_s(self) -> float | None:
        """Seconds until its result is committed, for a worker that drains; None: as `rendered_in_s`."""
        phase = self._latest[1].phase if self._latest is not None else None
        if phase in _NEARLY_DONE:
            return 0.0 if phase == PUBLISHING else PUBLISH_S
        rendered_in_s = self.rendered_in_s()
        return None if rendered_in_s is None else rendered_in_s + PUBLISH_S
