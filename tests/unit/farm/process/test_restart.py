"""The loop that keeps something running, with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farm.process.restart import Backoff, Failure, keep_running

BACKOFF = Backoff(first_s=1.0, longest_s=10.0, steady_s=60.0)


class Life:
    """Runs that end one after the other as they are told to; then it is over."""

    def __init__(self, *ends: Callable[[], None]) -> None:
        self.now = 0.0
        self.paused: list[float] = []
        self.told: list[Failure] = []
        self.starts = 0
        self._ends = list(ends)

    def run(self) -> None:
        self.starts += 1
        self._ends.pop(0)()

    def wait(self, pause_s: float) -> bool:
        if pause_s:
            self.paused.append(pause_s)
            self.now += pause_s
        return not self._ends

    def lasts(self, seconds: float) -> None:
        self.now += seconds
        raise OSError(f"it ended after {seconds:g} s")

    def keep(self, is_hopeless: Callable[[Exception, int], bool] = lambda _why, _in_a_row: False) -> None:
        keep_running(
            self.run,
            backoff=BACKOFF,
            wait=self.wait,
            on_failure=self.told.append,
            is_hopeless=is_hopeless,
            clock=lambda: self.now,
        )


def ends_well() -> None:
    """As it was asked to."""


def breaks() -> None:
    raise OSError("no such program")


def test_pauses_double_up_to_the_longest_and_each_failure_is_told_with_its_reason() -> None:
    life = Life(*[breaks] * 6, ends_well)

    life.keep()

    assert life.paused == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert [(str(each.why), each.in_a_row, each.pause_s) for each in life.told][:2] == [
        ("no such program", 1, 1.0),
        ("no such program", 2, 2.0),
    ]


def test_after_a_run_that_lasted_the_pauses_begin_anew() -> None:
    life = Life(breaks, breaks, lambda: life.lasts(61.0), breaks, ends_well)

    life.keep()

    assert life.paused == [1.0, 2.0, 1.0, 2.0]


def test_what_a_restart_will_not_mend_waits_for_the_longest_at_once() -> None:
    life = Life(breaks, breaks, breaks, ends_well)

    life.keep(is_hopeless=lambda _why, in_a_row: in_a_row >= 2)

    assert life.paused == [1.0, 10.0, 10.0]
    assert [each.hopeless for each in life.told] == [False, True, True]


def test_an_end_that_was_wanted_is_followed_by_a_start_without_a_pause() -> None:
    life = Life(ends_well, ends_well, ends_well)

    life.keep()

    assert (life.starts, life.paused, life.told) == (3, [], [])


@pytest.mark.parametrize("last", [ends_well, breaks])
def test_what_ends_when_it_is_over_is_no_failure(last: Callable[[], None]) -> None:
    life = Life(last)

    life.keep()

    assert (life.starts, life.told) == (1, [])
