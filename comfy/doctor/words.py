"""What all faces of a report say in the same words: costs, evidence, the bar of a timeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from comfy.doctor.report import (
    OFF_CARD,
    REPORT_VERSION,
    Cost,
    Evidence,
    Finding,
    Phase,
    PhaseTime,
    PromptReport,
    Report,
    Status,
)
from comfy.words import seconds_words

_MOST_NUMBERS: Final = 5
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain values; `docs/doctor.md` has the schema."""
    return {"version": REPORT_VERSION, **asdict(report)}


def cost_words(cost: Cost | None) -> str:
    """``about 67.5 s (0.00 s to 101.3 s)``; what was measured has no bounds."""
    if cost is None:
        return "seconds unknown"
    if cost.measured:
        return seconds_words(cost.seconds)
    return f"about {seconds_words(cost.seconds)} ({seconds_words(cost.low)} to {seconds_words(cost.high)})"


def after_words(cost: Cost | None, wall_s: float | None) -> str:
    """``450 s would be 382 s``; empty where it cannot be told, or nothing would be left or seen."""
    if cost is None or wall_s is None or cost.seconds < 1 or wall_s - cost.seconds < 1:
        return ""
    return f"{wall_s:.0f} s would be {wall_s - cost.seconds:.0f} s"


def of_source(prompt: PromptReport) -> str:
    """`` (comfy-2)``, where the log holds the lines of several servers."""
    return f" ({prompt.source})" if prompt.source else ""


def numbers_words(numbers: Sequence[int]) -> str:
    """``prompt 3``; ``prompts 1, 2 and 5``; of many how many there are: ``12 prompts, 1 to 40``."""
    if len(numbers) == 1:
        return f"prompt {numbers[0]}"
    if len(numbers) > _MOST_NUMBERS:
        return f"{len(numbers)} prompts, {numbers[0]} to {numbers[-1]}"
    return f"prompts {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def told_once(report: Report) -> list[tuple[Finding, str]]:
    """The findings for a reader, and in words of which prompts each is.

    Of those that say the same of many prompts, but for its numbers, the one that cost most stands for all.
    """
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for each in report.findings:
        alike.setdefault((each.id, each.remedy, _NUMBER.sub("0", each.message)), []).append(each)
    by_cost = sorted(alike.values(), key=lambda some: -_lost_s(some))
    return [(some[0], _about(report, some)) for some in by_cost]


def _lost_s(alike: Sequence[Finding]) -> float:
    return sum(each.cost.seconds for each in alike if each.cost is not None)


def _about(report: Report, alike: Sequence[Finding]) -> str:
    numbers = sorted({each.prompt for each in alike if each.prompt is not None})
    if not numbers or len(report.prompts) < 2:
        return ""
    lost = _lost_s(alike)
    # Prompts that wait in one queue wait for the same seconds.
    adds_up = len(alike) > 1 and alike[0].id not in OFF_CARD
    in_all = f"; {seconds_words(lost)} in all" if lost and adds_up else ""
    return f" ({numbers_words(numbers)}{in_all})"


def left_out_words(report: Report, shown: Sequence[PromptReport]) -> str:
    """How many prompts a reader does not see, and where they are; empty where all are shown."""
    kept = len(report.prompts)
    hidden = [prompt.status for prompt in report.prompts if prompt not in shown]
    counts = {status: hidden.count(status) for status in dict.fromkeys(hidden) if status is not Status.DONE}
    bad = ", ".join(f"{count} {str(status).replace('_', ' ')}" for status, count in counts.items())
    parts = [
        f"{report.prompts_left_out} earlier prompts are left out of this report, which is of the last {kept}"
        if report.prompts_left_out
        else "",
        f"{len(hidden)} shorter prompts are not shown" + (f" ({bad})" if bad else "") if hidden else "",
    ]
    return "; ".join(part for part in parts if part)


def evidence_words(evidence: Evidence) -> str:
    """``line 17: Requested to load WAN21 (×2)``."""
    where = f"line {evidence.line}: " if evidence.line is not None else ""
    return where + evidence.text + (f" (×{evidence.times})" if evidence.times > 1 else "")


def wall_of(report: Report, prompt: int | None) -> float | None:
    """The wall time that a finding is about: of its prompt, or of the only one."""
    walls = {each.number: each.wall_s for each in report.prompts}
    if prompt is not None:
        return walls.get(prompt)
    return next(iter(walls.values())) if len(walls) == 1 else None


def worth_showing(report: Report, most: int) -> tuple[PromptReport, ...]:
    """Prompts of a long log: the longest ones, in their order."""
    longest = sorted(report.prompts, key=lambda prompt: -(prompt.wall_s or 0.0))[:most]
    return tuple(sorted(longest, key=lambda prompt: prompt.number))


def shares(phases: Iterable[PhaseTime], width: int) -> list[tuple[Phase, int]]:
    """How many cells of a bar each phase takes; all that took a hundredth have one, and they fill it."""
    some = [each for each in phases if each.seconds > 0]
    whole = sum(each.seconds for each in some)
    if not whole:
        return []
    cells = {
        number: max(1, round(each.seconds / whole * width))
        for number, each in enumerate(some)
        if each.seconds >= whole / 100
    }
    while (over := sum(cells.values()) - width) != 0:
        largest = max(cells, key=lambda number: cells[number])
        cells[largest] -= 1 if over > 0 else -1
    return [(some[number].phase, count) for number, count in cells.items()]
