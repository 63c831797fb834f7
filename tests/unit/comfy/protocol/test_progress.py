"""The pace of a node: from what its steps really took, or none at all."""

from __future__ import annotations

import pytest

from comfy.protocol.progress import WorkTracker

GRAPH = {"1": {"class_type": "KSampler", "inputs": {}}}


def pace_of(steps: list[tuple[float, float]], *, maximum: float = 20) -> float | None:
    """Seconds per step after these messages, each a value and its moment."""
    tracker = WorkTracker(GRAPH, {})
    for value, at_s in steps:
        tracker.step("1", value, maximum, at_s)
    return tracker.progress(succeeded=False, phase=None).seconds_per_step


@pytest.mark.parametrize(
    ("steps", "pace"),
    [
        # The first step pays for loading.
        ([(1, 30.0), (2, 32.0), (3, 34.0)], 2.0),
        ([(0, 0.0), (1, 30.0), (2, 32.0)], 2.0),
        # Each step is told twice.
        ([(1, 30.0), (1, 30.001), (2, 32.0), (2, 32.001)], 2.0),
        # Throttled: several steps to a message.
        ([(1, 10.0), (6, 20.0), (11, 30.0)], 2.0),
        # Messages that waited while nobody read, and then the true pace.
        ([(1, 10.0), (2, 10.0001), (3, 10.0002), (4, 12.0), (5, 14.0)], 2.0),
        # A step that a cache skips costs nothing, and counts: two for the time of one.
        ([(1, 10.0), (2, 12.0), (3, 12.0001), (4, 14.0), (5, 14.0001)], 1.0),
        # Instant steps tell no pace.
        ([(1, 10.0), (2, 10.0001)], None),
        ([(value, 10.0 + value * 0.0001) for value in range(1, 21)], None),
        ([(value, 10.0) for value in range(1, 21)], None),
        # Too few.
        ([], None),
        ([(0, 1.0)], None),
        ([(1, 10.0)], None),
        ([(20, 10.0)], None),
    ],
)
def test_a_pace_is_what_steps_took_or_nothing(steps: list[tuple[float, float]], pace: float | None) -> None:
    assert pace_of(steps) == (None if pace is None else pytest.approx(pace, rel=1e-3))


def test_a_second_bar_of_the_same_node_has_a_pace_of_its_own() -> None:
    tracker = WorkTracker(GRAPH, {})
    for value, at_s in ((1, 0.0), (2, 1.0), (3, 2.0)):
        tracker.step("1", value, 3, at_s)

    for value, at_s in ((1, 100.0), (2, 104.0)):
        tracker.step("1", value, 8, at_s)

    assert tracker.progress(succeeded=False, phase=None).seconds_per_step == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("deaf", "seconds"),
    [
        # It ended as the first thing that was heard again, and may have ended at any time before.
        ((10.0, 20.0), {"1": None, "2": 5.0}),
        ((9.8, 19.8), {"1": None, "2": 5.0}),
        # It went on afterwards: its end was heard.
        ((5.0, 15.0), {"1": 20.0, "2": 5.0}),
        # Not for long enough to matter.
        ((18.0, 20.0), {"1": 20.0, "2": 5.0}),
    ],
    ids=["at once", "soon", "in its midst", "short"],
)
def test_a_node_whose_end_nobody_was_there_to_hear_tells_no_time(
    deaf: tuple[float, float], seconds: dict[str, float | None]
) -> None:
    tracker = WorkTracker({**GRAPH, "2": {"class_type": "VAEDecode", "inputs": {}}}, {})
    tracker.begin("1", 0.0)

    tracker.note_deaf(*deaf)
    tracker.begin("2", 20.0)
    tracker.finish("2", 25.0)

    told = {timing.node_id: timing for timing in tracker.timings}
    assert told["1"].seconds == seconds["1"]
    assert (told["2"].ended_s or 0.0) - told["2"].started_s == seconds["2"]
    assert (told["1"].unsure_s > 3) is (seconds["1"] is None)
