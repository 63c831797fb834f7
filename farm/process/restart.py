"""The one loop that keeps something running: started again when it ends, after pauses that grow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next start: doubled with each failure in a row, up to the longest pause."""

    first_s: float
    longest_s: float
    steady_s: float = 60.0  # whatever ran so long was in order: the pauses begin anew

    def pause_s(self, in_a_row: int) -> float:
        """The pause after so many failures in a row, from 1 on."""
        return min(self.first_s * 2.0 ** min(in_a_row - 1, 32), self.longest_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a run ended badly, and what comes of it."""

    why: Exception
    in_a_row: int
    hopeless: bool  # a restart mends nothing, as far as anybody knows
    pause_s: float  # until the next start


def keep_running(
    run: Callable[[], None],
    *,
    backoff: Backoff,
    wait: Callable[[float], bool],
    on_failure: Callable[[Failure], None],
    is_hopeless: Callable[[Exception, int], bool] = lambda _why, _in_a_row: False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run it, and run it again, until `wait` says that it is over.

    Args:
        run: from a start to the end; returns when that end was wanted, and raises what it failed by.
        wait: waits so many seconds, or less if something wakes it; whether nothing is to be started any more.
        on_failure: told of each failure before the pause; it is the one that tells people.
        is_hopeless: whether a restart will not mend a failure that came so many times in a row (a wrong
            set-up): the longest pause comes at once.
    """
    in_a_row = 0
    while not wait(0.0):
        began = clock()
        try:
            run()
        except Exception as exc:  # noqa: BLE001 - `on_failure` gets it
            if wait(0.0):
                return  # it was ended on purpose, however that looks
            in_a_row = 1 if clock() - began >= backoff.steady_s else in_a_row + 1
            hopeless = is_hopeless(exc, in_a_row)
            pause_s = backoff.longest_s if hopeless else backoff.pause_s(in_a_row)
            on_failure(Failure(why=exc, in_a_row=in_a_row, hopeless=hopeless, pause_s=pause_s))
            wait(pause_s)
