"""How a child's output becomes lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.process.logpump import (
    LineSplitter,
    LogFile,
    LogLine,
)


def a_line(text: str) -> LogLine:
    return LogLine(text=text, wall_s=1_700_000_000.25, monotonic_s=1.0)


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


def test_a_full_log_file_is_set_aside_and_old_ones_go(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "comfy.log", limit_bytes=100, keep=2)

    for number in range(12):
        file.write(a_line(f"line {number}"))
    file.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["comfy.log", "comfy.log.1", "comfy.log.2"]
    assert "line 11" in (tmp_path / "comfy.log.1").read_text()
    assert (tmp_path / "comfy.log.1").read_text().startswith("2023-11-14T22:13:20.250+00:00 line ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_file_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    file = LogFile(Path("/dev/full"))

    file.write(a_line("one"))
    file.write(a_line("two"))
    file.close()

    assert [record.message for record in caplog.records] == ["Log file is not written any more"]
