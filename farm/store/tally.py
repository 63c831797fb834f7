"""What has become of all jobs since the store began: counts that outlive the records.

A hash of whole numbers, written by the same script that ends a job and so exactly once. Its fields:

- ``ended STATE CODE``: jobs that ended so; CODE is that of the error, ``reused``, or nothing;
- ``took PHASE BOUND``: results that spent more than the bound before and at most BOUND seconds on a phase;
- ``took PHASE ms``: what they spent on it together.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from farm.job import JobResult, JobState

# Seconds: from a warm preview of some seconds to hours of waiting, three to a decade or so.
BOUNDS: Final = (
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
    *(1200.0, 1800.0, 3600.0, 7200.0, 36000.0, math.inf),
)

REUSED: Final = "reused"

# Phase of a job, as metrics call it, and which of a result's timings it is.
PHASES: Final[Mapping[str, str]] = {
    "wait": "queue",
    "prepare": "prepare",
    "render": "execute",
    "collect": "collect",
    "upload": "upload",
    "publish": "publish",
    "attempt": "attempt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What results spent on one phase."""

    counts: tuple[int, ...]  # by `BOUNDS`: above the bound before, and at most this one
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How jobs ended, and what their phases took."""

    ended: Mapping[tuple[JobState, str], int]  # state and code -> jobs
    spent: Mapping[str, Spent]  # phase -> seconds


def ended_field(state: JobState, code: str) -> str:
    """The field that counts jobs which ended so."""
    return f"ended {state.value} {code}"


def spent_fields(result: JobResult) -> Iterator[tuple[str, int]]:
    """The fields to which a result adds, and how much."""
    for phase, timing in PHASES.items():
        seconds = result.timings_s.get(timing)
        if seconds is not None and math.isfinite(seconds):
            yield _bound_field(phase, BOUNDS[bisect_left(BOUNDS, seconds)]), 1
            yield f"took {phase} ms", round(seconds * 1000)


def read_tally(fields: Mapping[str, int]) -> Tally:
    """The tally, from its fields; what this version does not know is left out."""
    return Tally(
        ended={
            (JobState(parts[1]), parts[2]): count
            for name, count in fields.items()
            if len(parts := name.split(" ")) == 3 and parts[0] == "ended" and parts[1] in set(JobState)
        },
        spent={
            phase: Spent(
                counts=tuple(fields.get(_bound_field(phase, bound), 0) for bound in BOUNDS),
                total_s=fields.get(f"took {phase} ms", 0) / 1000,
            )
            for phase in PHASES
        },
    )


def _bound_field(phase: str, bound: float) -> str:
    return f"took {phase} {bound:g}"
