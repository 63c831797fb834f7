"""A signal reaches the process that was meant, and never another one that has its number now."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from farm.process.guard import Guard
from farm.process.identity import ProcessId, identify
from worker.comfyui.folders import open_folders


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not meant, whatever number it has."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def as_another(process: subprocess.Popen[bytes]) -> ProcessId:
    """One that had the same number, and is gone."""
    found = identify(process.pid)
    assert found is not None
    boot, _, ticks = found.started.partition("/")
    return replace(found, started=f"{boot}/{int(ticks) - 1}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
def test_a_number_that_was_given_to_another_one_gets_no_signal(
    stranger: subprocess.Popen[bytes], number: int
) -> None:
    gone = as_another(stranger)

    gone.signal(number)

    assert not gone.alive()
    assert gone.wait_gone(0.0)
    assert stranger.poll() is None


def test_without_handles_on_processes_the_number_is_judged_all_the_same(
    stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", forbidden, raising=False)

    as_another(stranger).signal(signal.SIGKILL)
    assert stranger.poll() is None

    meant = identify(stranger.pid)
    assert meant is not None
    meant.signal(signal.SIGKILL)
    assert stranger.wait(60) == -signal.SIGKILL


def test_the_one_that_is_meant_gets_it(stranger: subprocess.Popen[bytes]) -> None:
    meant = identify(stranger.pid)
    assert meant is not None

    meant.signal(signal.SIGTERM)

    assert stranger.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{}",
        "[]",
        "null",
        "1",
        '{"pid": PID, "started": 1.5}',
        '{"pid": PID, "started": null}',
        '{"pid": PID}',
        '{"pid": PID, "started": ""}',
        '{"pid": "PID", "started": "x"}',
        '{"pid": -1, "started": ""}',
        '{"pid": 0, "started": ""}',
        '{"pid": PID, "started": "x", "more": 1}',
        "ANOTHER",
    ],
)
def test_a_note_of_a_leftover_that_does_not_fit_ends_nothing(
    note: str, stranger: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    open_folders(tmp_path, holder="w1")[1].release()
    text = json.dumps(asdict(as_another(stranger))) if note == "ANOTHER" else note
    (tmp_path / "comfyui.pid").write_text(text.replace("PID", str(stranger.pid)))

    open_folders(tmp_path, holder="w2")[1].release()

    assert stranger.poll() is None


def test_a_leftover_ends_with_all_that_it_started(tmp_path: Path) -> None:
    folders, held = open_folders(tmp_path, holder="w1")
    script = (
        "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as leftover:
        assert leftover.stdout is not None
        below = identify(int(leftover.stdout.readline()))
        assert below is not None
        folders.remember_process(leftover.pid)
        held.release()

        open_folders(tmp_path, holder="w2")[1].release()

        assert leftover.wait(60) == -signal.SIGKILL
        assert below.wait_gone(60)


def test_the_group_of_a_command_that_was_waited_for_gets_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _number: sent.append(group))
    guard = Guard.__new__(Guard)
    guard.pid, guard._status = 4321, None

    guard._signal_group(signal.SIGTERM)
    guard._status = 0
    guard._signal_group(signal.SIGKILL)

    assert sent == [4321]
