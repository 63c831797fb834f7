"""How a child's output becomes lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfy.log.text import LogLevel
from farm.process.logpump import RETRY_S, LineSplitter, LogFile, LogLine, LogPump


def a_line(text: str, *, at_s: float = 1.0) -> LogLine:
    return LogLine(text=text, wall_s=1_700_000_000.25, monotonic_s=at_s)


@pytest.mark.parametrize(
    "chunks",
    [
        [b"one\ntwo\r\nthree\n"],
        [b"on", b"e\ntw", b"o\r\nthr", b"ee\n"],
        [b"one\n\n\ntwo\n\r\nthree\n"],
    ],
)
def test_lines_are_the_same_however_the_bytes_arrive(chunks: list[bytes]) -> None:
    splitter = LineSplitter()

    lines = [line for chunk in chunks for line in splitter.feed(chunk)]

    assert lines == [("one", False), ("two", False), ("three", False)]


def test_each_state_of_a_bar_is_a_line_and_known_as_one() -> None:
    splitter = LineSplitter()

    lines = splitter.feed(b"got prompt\n\r  0%|    | 0/2\r 50%|#   | 1/2\r100%|####| 2/2\nPrompt executed\n")

    assert lines == [
        ("got prompt", False),
        ("  0%|    | 0/2", True),
        (" 50%|#   | 1/2", True),
        ("100%|####| 2/2", True),
        ("Prompt executed", False),
    ]


def test_a_quiet_moment_gives_out_a_bars_state_but_no_half_line() -> None:
    bar, text = LineSplitter(), LineSplitter()
    bar.feed(b"\r 50%|#   | 1/2")
    text.feed(b"half a li")

    assert bar.flush_bar() == [(" 50%|#   | 1/2", True)]
    assert text.flush_bar() == []
    assert bar.feed(b"\r100%|####| 2/2\n") == [("100%|####| 2/2", True)]
    assert text.feed(b"ne\n") == [("half a line", False)]


def test_a_line_without_end_does_not_grow_for_ever() -> None:
    splitter = LineSplitter()

    lines = [line for _ in range(40) for line in splitter.feed(b"x" * 5000)]

    assert sum(len(text) for text, _ in lines) >= 100_000
    assert max(len(text) for text, _ in lines) < 100_000


def test_a_full_log_file_is_rotated_and_old_ones_go(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "comfy.log", limit_bytes=100, keep=2)

    for number in range(12):
        file.write(a_line(f"line {number}"))
    file.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["comfy.log", "comfy.log.1", "comfy.log.2"]
    assert "line 11" in (tmp_path / "comfy.log.1").read_text()
    assert (tmp_path / "comfy.log.1").read_text().startswith("2023-11-14T22:13:20.250+00:00 line ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_costs_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    file = LogFile(Path("/dev/full"))

    for at_s in (0.0, 1.0, RETRY_S, RETRY_S + 1, 2 * RETRY_S):
        file.write(a_line("line", at_s=at_s))
    file.close()

    assert [record.message for record in caplog.records] == ["Log file cannot be written"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_is_written_again_once_the_disk_has_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "comfyui.log"
    path.symlink_to("/dev/full")
    file = LogFile(path)
    for number, at_s in enumerate((0.0, 1.0, RETRY_S + 1)):
        file.write(a_line(f"line {number}", at_s=at_s))

    path.unlink()
    for number, at_s in enumerate((RETRY_S + 2, 2 * RETRY_S + 2, 2 * RETRY_S + 3), start=3):
        file.write(a_line(f"line {number}", at_s=at_s))
    file.close()

    texts = [line.partition(" ")[2] for line in path.read_text().splitlines() if line]
    assert texts == ["(4 lines are missing here: the file could not be written)", "line 4", "line 5"]
    assert [record.__dict__["event"] for record in caplog.records] == ["log_file_failed", "log_file_back"]


@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        (b"\x1b[32m[INFO]\x1b[0m got prompt\n", [("got prompt", LogLevel.INFO, False)]),
        (
            b"\r100%|###| 2/2 [00:00<00:00, 22.95it/s]\x1b[1m\x1b[31m[ERROR]\x1b[0m bad\n",
            [
                ("100%|###| 2/2 [00:00<00:00, 22.95it/s]", None, True),
                ("bad", LogLevel.ERROR, False),
            ],
        ),
        (b"\x1b[32m[INFO]\x1b[0m \n\x1b[32m[INFO]\x1b[0m x\n", [("x", LogLevel.INFO, False)]),
    ],
)
def test_a_childs_line_has_its_level_and_no_colours(
    printed: bytes, lines: list[tuple[str, LogLevel | None, bool]]
) -> None:
    reading, writing = os.pipe()
    pump = LogPump(os.fdopen(reading, "rb"), name="test")

    os.write(writing, printed)
    os.close(writing)
    pump.join(60)

    assert [(line.text, line.level, line.bar) for line in pump.tail(10)] == lines


def test_words_right_behind_a_bar_are_no_bar() -> None:
    splitter = LineSplitter()
    splitter.feed(b"\r100%|###| 2/2")

    state = splitter.flush_bar()

    assert state == [("100%|###| 2/2", True)]
    assert splitter.feed(b"Processing interrupted\n") == [("Processing interrupted", False)]
