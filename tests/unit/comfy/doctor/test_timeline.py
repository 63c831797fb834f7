"""Clocks that contradict each other: what ComfyUI says that a prompt took counts, and the rest is doubted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Phase, PromptReport, Report

# Seconds from the log's first line, and the line.
LINES = (
    (0, "ComfyUI version: 0.3.64"),
    (0, "Total VRAM 24080 MB, total RAM 64000 MB"),
    (5, "got prompt"),
    (22, "model weight dtype torch.float16, manual cast: None"),
    (23, "Requested to load WAN21"),
    (26, "loaded completely 20500.1 13629.0 True"),
    (26, "  0%|          | 0/2 [00:00<?, ?it/s]"),
    (53, "100%|██████████| 2/2 [00:27<00:00, 13.50s/it]"),
    (53, "Requested to load WanVAE"),
    (56, "loaded completely 12016.47 242.02 True"),
    (60, "got prompt"),
    (67, "Prompt executed in 62.11 seconds"),
    (70, "Requested to load WAN21"),
    (73, "loaded completely 20500.1 13629.0 True"),
    (100, "100%|██████████| 2/2 [00:27<00:00, 13.50s/it]"),
    (109, "Prompt executed in 42.05 seconds"),
)
BEGAN = datetime(2026, 11, 30, 10, tzinfo=UTC)


def log_of(*, jump_before: int = len(LINES), by_s: float = 0) -> str:
    """The log by a clock that was set before a line."""
    return "".join(
        f"{moment(at_s + (by_s if number >= jump_before else 0))} {text}\n"
        for number, (at_s, text) in enumerate(LINES)
    )


def own_log(line: str, end: str) -> str:
    """The log as ComfyUI's own report and its manager show it: bars stand between stamps of others."""
    return "".join(
        line.format(stamp=moment(at_s)[:-1], text=text)
        if "%|" in text
        else f"{moment(at_s)[:-1]} - {text}{end}"
        for at_s, text in LINES
    )


def moment(at_s: float) -> str:
    return f"{BEGAN + timedelta(seconds=at_s):%Y-%m-%dT%H:%M:%S}Z"


def loading_s(prompt: PromptReport) -> float:
    return sum(each.seconds for each in prompt.phases if each.phase is Phase.LOADING)


def doubts(report: Report) -> list[str]:
    return [each.what for each in report.questions if "not believed" in each.what]


def test_stamps_that_agree_with_the_told_time_are_believed() -> None:
    report = diagnose(log_of())

    assert [loading_s(prompt) for prompt in report.prompts] == pytest.approx([24.11, 6.05], abs=1)
    assert report.prompts[1].phases[0].phase is Phase.WAITING
    assert doubts(report) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "bar",
    [
        "{stamp} - \n{text}{stamp} - \n",
        "{stamp} - \n{text}{stamp}.000100 - \n",
        "{stamp} -\n{text}\n",
        "{stamp} - \n{text}\n{stamp} - \n",
        "{stamp} - \r{text}{stamp} - \n",
        "{stamp} - \n{text}{stamp} - \n{text}{stamp} - \n",
    ],
)
def test_a_bar_between_stamps_is_of_the_moment_that_stands_above_it(bar: str, end: str) -> None:
    report = diagnose(own_log(bar.replace("\n", end), end))

    assert doubts(report) == []
    assert [loading_s(prompt) for prompt in report.prompts] == pytest.approx([24.11, 6.05], abs=1)
    for prompt in report.prompts:
        assert all(each.seconds < 1 for each in prompt.phases if each.phase is Phase.UNEXPLAINED)


def test_a_bar_above_the_block_that_is_read_at_once_has_its_stamp_too() -> None:
    log = own_log("{stamp} - \n{text}{stamp} - \n", "\n").encode()
    cut = log.index(b"\n100%") + 1

    report = diagnose(iter([b"x" * (1 << 18) + b"\n" + log[:cut], log[cut:]]))

    assert doubts(report) == []


def test_bars_without_a_stamp_among_lines_that_have_one_leave_the_others_their_time() -> None:
    """Whoever stamps a server's output may leave out its other pipe."""
    report = diagnose(own_log("{text}\n", "\n"))

    assert doubts(report) == []
    first = {each.phase: each.seconds for each in report.prompts[0].phases}
    assert first[Phase.SAMPLING] == pytest.approx(27, abs=0.1)
    assert first[Phase.LOADING] == pytest.approx(24.11, abs=4)


@pytest.mark.parametrize("by_s", [-86400, -3600, -30, 30, 3600, 86400])
@pytest.mark.parametrize("jump_before", range(len(LINES)))
def test_no_jump_of_the_clock_makes_a_phase_longer_than_its_prompt(jump_before: int, by_s: float) -> None:
    report = diagnose(log_of(jump_before=jump_before, by_s=by_s))

    for prompt in report.prompts:
        assert prompt.wall_s is not None
        assert prompt.wall_s < 70
        assert all(0 <= phase.seconds <= prompt.wall_s for phase in prompt.phases)
        assert sum(phase.seconds for phase in prompt.phases) == pytest.approx(prompt.wall_s, abs=0.01)
    assert all(each.cost is None or each.cost.high < 70 for each in report.findings)


@pytest.mark.parametrize(
    ("by_s", "words"),
    [
        (-3600, "prompt 1: stamps that go back by 1 h 00 min were not believed"),
        (3600, "prompt 1: stamps 1 h 00 min apart in a prompt of 62.1 s were not believed"),
        (-27, "prompt 1: stamps that go back by 27.0 s were not believed"),
    ],
)
def test_stamps_that_were_not_believed_are_named_with_their_prompt(by_s: float, words: str) -> None:
    report = diagnose(log_of(jump_before=6, by_s=by_s))

    assert doubts(report) == [words]
    assert {phase.source for phase in report.prompts[0].phases} == {"bars", "rest"}
    assert loading_s(report.prompts[1]) == pytest.approx(6.05, abs=1)  # its own stamps are sound


def test_a_clock_that_was_set_while_a_prompt_waited_tells_no_waiting() -> None:
    report = diagnose(log_of(jump_before=11, by_s=3600))

    assert Phase.WAITING not in {each.phase for each in report.prompts[1].phases}


def test_bars_of_another_server_in_the_same_log_are_not_believed() -> None:
    report = diagnose(
        "got prompt\n100%|####| 20/20 [04:30<00:00, 13.50s/it]\nPrompt executed in 12.00 seconds\n"
    )

    (prompt,) = report.prompts
    assert [(each.phase, each.seconds) for each in prompt.phases] == [(Phase.UNEXPLAINED, 12.0)]
    assert doubts(report) == ["prompt 1: bars of 4 min 30 s in a prompt of 12.0 s were not believed"]


def test_what_holds_of_many_prompts_is_not_concluded_once_for_all() -> None:
    report = diagnose("got prompt\nPrompt executed in 90.00 seconds\n" * 150)

    (question,) = [each for each in report.questions if "unexplained" in each.what]
    assert question.what.startswith("150 prompts, 1 to 150: 3 h 45 min are unexplained")


def test_many_prompts_of_a_clock_that_jumps_are_told_in_a_few_lines() -> None:
    one = log_of(jump_before=6, by_s=-3600)
    report = diagnose(one * 20)

    assert 1 < len(doubts(report)) <= 4
    assert "more prompts" in doubts(report)[-1]
