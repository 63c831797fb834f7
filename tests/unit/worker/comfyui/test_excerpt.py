"""The lines that a failed job is shown are its own, whoever has the card before and after it."""

from __future__ import annotations

import pytest

from farm.process.logpump import LogLine
from worker.comfyui.excerpt import last_prompts_words, lines_of_job

FORMER_ENDS = (10.001, "Prompt executed in 1.00 seconds")
MINE = ((10.2, "got prompt"), (11.0, "mine"), (12.0, "Prompt executed in 2.00 seconds"))
NEXT = ((12.5, "got prompt"), (13.0, "the next one's"), (14.0, "Prompt executed in 1.00 seconds"))
OWN = [text for _, text in MINE]


def texts_of(*lines: tuple[float, str]) -> list[str]:
    printed = [LogLine(text=text, wall_s=0.0, monotonic_s=at_s) for at_s, text in lines]
    return [line.text for line in lines_of_job(printed, 12.0)]


@pytest.mark.parametrize(
    ("lines", "own"),
    [
        ([*MINE], OWN),
        ([FORMER_ENDS, *MINE], OWN),
        ([*MINE, *NEXT], OWN),
        ([FORMER_ENDS, *MINE, *NEXT], OWN),
        # Read a moment after the card was free.
        ([FORMER_ENDS, *MINE, (12.1, "late words"), *NEXT], [*OWN, "late words"]),
        # Tried again with less memory: two prompts of one attempt.
        (
            [FORMER_ENDS, (10.1, "got prompt"), (10.15, "Prompt executed in 0.20 seconds"), *MINE, *NEXT],
            ["got prompt", "Prompt executed in 0.20 seconds", *OWN],
        ),
        # It never came so far.
        ([FORMER_ENDS, (11.0, "Segmentation fault"), *NEXT], ["Segmentation fault"]),
        ([(11.0, "Segmentation fault")], ["Segmentation fault"]),
        ([FORMER_ENDS, *NEXT], []),
        ([*NEXT], []),
        # A log that is not understood: by time alone.
        ([(11.0, "<6> got prompt"), (13.0, "<6> got prompt")], ["<6> got prompt"]),
        ([], []),
    ],
)
def test_a_jobs_lines_are_its_own(lines: list[tuple[float, str]], own: list[str]) -> None:
    assert texts_of(*lines) == own


def test_bars_are_left_out() -> None:
    bar = LogLine(text=" 50%|###", wall_s=0.0, monotonic_s=11.0, bar=True)

    assert lines_of_job([bar], 12.0) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([*MINE, *NEXT], []),
        ([*MINE, *NEXT[:2]], ["got prompt", "the next one's"]),
        ([*MINE, (12.1, "Segmentation fault")], ["Segmentation fault"]),
        ([(11.0, "mine"), FORMER_ENDS, *NEXT[:1]], ["got prompt"]),
        ([(11.0, "Segmentation fault")], ["Segmentation fault"]),
        ([], []),
    ],
    ids=["none is left", "the next has come", "between two", "only come", "no prompt", "nothing"],
)
def test_a_dead_comfyuis_last_words_are_of_its_last_prompt(
    lines: list[tuple[float, str]], words: list[str]
) -> None:
    assert last_prompts_words([text for _, text in lines]) == words
