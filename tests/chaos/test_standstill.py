"""What is laid to a busy machine was measured, and is not what a worker did itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.standstill import harms_of, is_standstill, spans_of
from tests.support.valkey import eventually

WATCHES = """
import sys, time
from pathlib import Path
from tests.chaos.standstill import watch
watch(Path(sys.argv[1]), time.time)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_process_that_is_given_no_time_notes_it(tmp_path: Path) -> None:
    file, stopped_s = tmp_path / "notes", 1.0
    command = [sys.executable, "-c", WATCHES, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(stopped_s)
        process.send_signal(signal.SIGCONT)

        eventually(lambda: any(end - begin > stopped_s / 2 for begin, end in spans_of(file)))
        process.kill()


def test_a_process_that_used_the_time_itself_is_not_excused() -> None:
    assert is_standstill(2.0, 0.5)
    assert not is_standstill(2.0, 1.9)
    assert not is_standstill(0.05, 0.0)


@pytest.mark.parametrize(
    ("spans", "explained"),
    [
        ([(10.0, 11.3)], True),
        ([(10.0, 10.7), (10.8, 11.4)], True),
        ([(10.0, 11.0)], False),  # a nap of half a lease costs nothing
        ([(10.0, 10.7), (13.0, 13.7)], False),
    ],
    ids=["at once", "in two parts", "too short", "far apart"],
)
def test_a_lease_runs_out_only_where_two_renewals_found_no_time(
    spans: list[tuple[float, float]], explained: bool
) -> None:
    assert bool(list(harms_of(spans, "w1", lease_s=2.0, renew_s=0.4))) is explained


def test_a_note_that_its_writer_was_killed_over_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("[1.0, 2.0]\n[3.0, 4")

    assert spans_of(file) == [(1.0, 2.0)]
    assert spans_of(tmp_path / "of nobody") == []
