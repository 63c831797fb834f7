"""A part of the local stack is started again when it dies, told of when it fails, and never doubled."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from farm.local.addresses import PartName
from farm.local.parts import Launch, Part
from farm.local.supervisor import Board, Keeper, News, PartNews

LIVES = "import time; print('up', flush=True); time.sleep(600)"
IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LIVES
DIES = "print('no more disk'); raise SystemExit(3)"


class Kept:
    """A keeper of one part, with what it told."""

    def __init__(self, folder: Path, part: Part) -> None:
        for name in ("run", "logs"):
            (folder / name).mkdir()
        self.board = Board()
        self.pids: list[int] = []
        self._told: list[PartNews] = []
        self._changed = threading.Condition()
        self.keeper = Keeper(
            part,
            self.board,
            folder=folder,
            on_start=lambda _name, child: self.pids.append(child.pid),
            on_news=self._hear,
        )
        self.keeper.start()

    def _hear(self, news: PartNews) -> None:
        with self._changed:
            self._told.append(news)
            self._changed.notify_all()

    def hears(self, *news: News) -> list[PartNews]:
        """What was told, once it is at least that."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._told) >= len(news), 60), self._told
            assert [told.news for told in self._told[: len(news)]] == list(news)
            return list(self._told)

    def fails(self) -> str:
        assert self.board.wait_for(lambda: self.board.failure is not None, 60)
        return str(self.board.failure)

    def stop(self, grace_s: float | None = None) -> None:
        self.board.stop()
        self.keeper.stop(grace_s)


def a_part(
    code: str, *, refuses: Callable[[int], str | None] = lambda _pid: None, timeout_s: float = 60.0
) -> Part:
    launch = Launch(command=(sys.executable, "-I", "-S", "-c", code), env={})
    return Part(name=PartName.S3, prepare=lambda: launch, refuses=refuses, timeout_s=timeout_s, grace_s=600.0)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_part_that_ends_before_it_answers_is_not_tried_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path, a_part(DIES, refuses=lambda _pid: "nothing listens"))

    assert "s3 ended with code 3; its last lines:\n  no more disk" in kept.fails()
    assert len(kept.pids) == 1
    kept.stop()


def test_a_full_disk_is_told_in_a_sentence_and_no_fault_of_the_farm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def prepare() -> Launch:
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = Kept(tmp_path, replace(a_part(LIVES), prepare=prepare))

    assert kept.fails() == f"s3 cannot be started: the disk of {tmp_path} is full: make room there"
    assert "Traceback" not in caplog.text
    kept.stop()


def test_a_part_that_never_answers_is_ended_and_the_last_refusal_told(tmp_path: Path) -> None:
    kept = Kept(tmp_path, a_part(LIVES, refuses=lambda _pid: "403 Forbidden", timeout_s=0.2))

    assert "s3 did not answer within 0.2 s (403 Forbidden)" in kept.fails()
    assert not is_alive(kept.pids[0])
    kept.stop()


def test_a_part_that_dies_later_is_started_again(tmp_path: Path) -> None:
    once = tmp_path / "once"
    first_time = f"import pathlib; p = pathlib.Path({str(once)!r}); new = not p.exists(); p.touch(); "
    kept = Kept(tmp_path, a_part(first_time + "import time; time.sleep(0.3 if new else 600)"))

    told = kept.hears(News.STARTED, News.READY, News.DIED, News.STARTED, News.READY)

    assert "ended with code 0" in told[2].detail
    assert kept.board.failure is None
    kept.stop()


def test_a_probe_that_breaks_after_a_restart_leaves_one_process_not_two(tmp_path: Path) -> None:
    asked: list[int] = []

    def refuses(pid: int) -> str | None:
        asked.append(pid)
        if len(set(asked)) == 2:
            raise RuntimeError("boom")
        return None

    once = tmp_path / "once"
    first_time = f"import pathlib; p = pathlib.Path({str(once)!r}); new = not p.exists(); p.touch(); "
    kept = Kept(
        tmp_path, a_part(first_time + "import time; time.sleep(0.3 if new else 600)", refuses=refuses)
    )

    told = kept.hears(News.STARTED, News.READY, News.DIED, News.STARTED, News.DIED, News.STARTED, News.READY)

    assert told[4].detail == "boom"
    assert [is_alive(pid) for pid in kept.pids] == [False, False, True]
    kept.stop()


def test_an_impatient_stop_shortens_a_patient_one(tmp_path: Path) -> None:
    kept = Kept(tmp_path, a_part(IGNORES_TERM))
    kept.hears(News.STARTED, News.READY)
    patient = threading.Thread(target=kept.stop)  # gives it ten minutes
    patient.start()

    kept.stop(0.0)
    patient.join(60)

    assert not patient.is_alive()
    assert not is_alive(kept.pids[0])


@pytest.mark.parametrize("waits", [True, False])
def test_a_part_waits_for_what_it_needs_and_not_beyond_a_stop(tmp_path: Path, waits: bool) -> None:
    part = a_part(LIVES)
    needy = Part(
        name=PartName.FLOWER, prepare=part.prepare, refuses=part.refuses, needs=frozenset({PartName.S3})
    )
    kept = Kept(tmp_path, needy)

    if waits:
        kept.stop()
        assert kept.pids == []
    else:
        kept.board.set(lambda: kept.board.ready.add(PartName.S3))
        kept.hears(News.STARTED, News.READY)
        kept.stop()
