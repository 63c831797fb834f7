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


FIRST = ((10.2, "got prompt"), (10.3, "Requested to load WAN21"), (11.0, "Prompt executed in 0.80 seconds"))
READY = (12.0, "To see the GUI go to: http://127.0.0.1:8188")
SECOND = ((13.0, "got prompt"), (13.2, "Requested to load WanVAE"), (15.0, "Prompt executed in 1.90 seconds"))


def canary(at_s: float, ended_s: float) -> tuple[tuple[float, str], ...]:
    return (at_s, "got prompt"), (ended_s, "Prompt executed in 0.01 seconds")


@pytest.mark.parametrize(
    "lines",
    [
        [*SECOND],
        [*FIRST, *SECOND],
        [*FIRST, READY, *SECOND],
        [*FIRST, READY, *canary(12.1, 12.9), *SECOND],
        # It waited behind a canary, and another one behind it.
        [*FIRST, READY, *canary(12.1, 13.05), *SECOND],
        [*FIRST, READY, *canary(14.0, 15.01), *SECOND],
        [*SECOND, (15.3, "got prompt"), (15.4, "Prompt executed in 0.01 seconds")],
    ],
    ids=["alone", "again", "after a start", "after a canary", "behind one", "before one", "with the next"],
)
def test_of_the_prompt_that_is_known_only_its_own_lines_are_meant(lines: list[tuple[float, str]]) -> None:
    printed = [LogLine(text=text, wall_s=0.0, monotonic_s=at_s) for at_s, text in sorted(lines)]

    own = lines_of_job(printed, 15.2, 13.1)

    assert [line.text for line in own] == [text for _, text in SECOND]


def test_a_line_that_cannot_be_read_is_one_of_no_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(text: str) -> None:
        raise ValueError(text)

    monkeypatch.setattr("worker.comfyui.excerpt.read_line", fails)

    assert texts_of(*MINE) == OWN
