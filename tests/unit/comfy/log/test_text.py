"""Whatever dress a line wears, its text and its level are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy.log.text import LogLevel, PlainLine, plain_lines
from tests.support.tables import for_each


def line(text: str, level: LogLevel | None = None) -> PlainLine:
    return PlainLine(text=text, level=level)


BAR = "100%|██████████| 2/2 [00:00<00:00, 22.95it/s]"


@for_each(
    "printed, lines",
    [
        ("got prompt\n", [line("got prompt")]),
        ("\x1b[32m[INFO]\x1b[0m got prompt\n", [line("got prompt", LogLevel.INFO)]),
        (
            "\x1b[32m[INFO]\x1b[0m \x1b[32mPrompt executed in 5.65 seconds\x1b[0m\n",
            [line("Prompt executed in 5.65 seconds", LogLevel.INFO)],
        ),
        ("\x1b[1m\x1b[33m[WARNING]\x1b[0m low\n", [line("low", LogLevel.WARNING)]),
        ("\x1b[1m\x1b[31m[ERROR]\x1b[0m bad\n", [line("bad", LogLevel.ERROR)]),
        ("\x1b[1m\x1b[35m[CRITICAL]\x1b[0m worse\n", [line("worse", LogLevel.CRITICAL)]),
        ("\x1b[34m[DETAIL]\x1b[0m fine\n", [line("fine", LogLevel.DETAIL)]),
        ("\x1b[36m[DEBUG]\x1b[0m finer\n", [line("finer", LogLevel.DEBUG)]),
        ("[INFO] switched off\n", [line("switched off", LogLevel.INFO)]),
        ("[2026-11-29 20:53:43,555] [DETAIL] in a file\n", [line("in a file", LogLevel.DETAIL)]),
        ("[VideoHelperSuite] - \x1b[0;33mWARNING\x1b[0m - x\n", [line("[VideoHelperSuite] - WARNING - x")]),
        ("\x1b[32m[INFO]\x1b[0m \nImport times:\n", [line("Import times:")]),
        ("\x1b[32m[INFO]\x1b[0m    0.1 seconds: x\n", [line("   0.1 seconds: x", LogLevel.INFO)]),
        ("\r  0%|    | 0/2\r" + BAR + "\n", [line("  0%|    | 0/2"), line(BAR)]),
        (f"\r{BAR}Processing interrupted\n", [line(BAR), line("Processing interrupted")]),
        (
            f"\r{BAR}\x1b[32m[INFO]\x1b[0m Processing interrupted\n",
            [line(BAR), line("Processing interrupted", LogLevel.INFO)],
        ),
        (
            "half a line\x1b[1m\x1b[31m[ERROR]\x1b[0m bad\n",
            [line("half a line"), line("bad", LogLevel.ERROR)],
        ),
        (
            '{"reason": "ended\\n  | ' + BAR + '", "n": 1}\n',
            [line('{"reason": "ended\\n  | ' + BAR + '", "n": 1}')],
        ),
        ("[Prompt Server] web root: x\r\n\r\n", [line("[Prompt Server] web root: x")]),
        ("[ERROR]\n", []),
        ("", []),
    ],
)
def test_a_line_is_the_same_in_every_dress(printed: str, lines: list[PlainLine]) -> None:
    assert plain_lines(printed) == lines


@given(st.text(alphabet="\x1b[]0m3;INFOERR \r\n|%a<", max_size=80))
def test_nothing_is_blank_and_nothing_keeps_an_end(printed: str) -> None:
    for found in plain_lines(printed):
        assert found.text.strip()
        assert not set("\r\n") & set(found.text)


@pytest.mark.parametrize(
    ("printed", "stamped"),
    [
        ("\x1b[32m[INFO]\x1b[0m got prompt", True),
        ("\x1b[1m\x1b[31m[ERROR]\x1b[0m bad", True),
        ("[INFO] got prompt", False),
        ("[2026-11-29 20:53:43,555] [INFO] got prompt", False),
        ("got prompt", False),
        ("a fox \N{SYMBOL FOR ESCAPE}[32m[INFO]\N{SYMBOL FOR ESCAPE}[0m got prompt", False),
    ],
)
def test_only_a_level_in_colour_is_the_mark_of_a_logger(printed: str, stamped: bool) -> None:
    (line,) = plain_lines(printed)

    assert line.stamped is stamped
