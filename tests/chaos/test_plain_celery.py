"""The control: on plain Celery the checker must find what it finds nowhere in the farm.

Worker killed, idle worker frozen and killed, worker frozen for a moment, connections killed, Redis killed:
the same seeded order of them on Celery as it comes, and on what guides call best practice for long tasks.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.checker import Breach, check, count
from tests.chaos.plain_celery import FAULTS, PlainCelery
from tests.chaos.schedule import make_schedule

SCHEDULE = make_schedule(1, faults=len(FAULTS), over_s=0.0, kinds=FAULTS)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_checker_finds_what_plain_celery_loses_and_what_late_acknowledgement_doubles(
    tmp_path: Path,
) -> None:
    def play(acks: str) -> Counter[Breach]:
        with PlainCelery(tmp_path / acks, acks=acks) as plain:
            plain.play(SCHEDULE)
            return count(check(plain.history(within_s=60)))

    with ThreadPoolExecutor() as pool:  # both at once: they mostly wait
        early, late = pool.map(play, ("early", "late"))

    # A message that a frozen worker swallowed, and one whose worker was killed in the middle.
    assert early[Breach.LOST] >= 2
    # Its connection was cut, and it handed back the message that it went on rendering.
    assert late[Breach.DOUBLED] >= 1
