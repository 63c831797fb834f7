"""A farm under every kind of fault, for a minute: it keeps each sentence of its promise.

`make chaos` plays long ones; `docs/chaos.md` says what is done and what is looked at.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.campaign import again, play
from tests.chaos.schedule import Fault

SEED, JOBS, FAULTS, SECONDS, WORKERS = 1, 30, len(Fault), 25.0, 3
CALM_S = 600.0  # many times what a quiet machine needs


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_no_fault_loses_a_job_or_renders_it_into_two_results(tmp_path: Path) -> None:
    played = play(
        tmp_path / "arena", SEED, jobs=JOBS, faults=FAULTS, over_s=SECONDS, workers=WORKERS, calm_s=CALM_S
    )

    command = again(SEED, jobs=JOBS, faults=FAULTS, over_s=SECONDS, workers=WORKERS)
    assert not played.waits_for, f"{CALM_S:g} s after the last fault there were {', '.join(played.waits_for)}"
    assert not played.violations, "\n".join([*map(str, played.violations), f"play it again: {command}"])
    assert {struck.kind for struck in played.struck} == set(Fault)
