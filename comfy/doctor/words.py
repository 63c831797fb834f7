"""What all faces of a report say in the same words: costs, evidence, the bar of a timeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from comfy.doctor.report import REPORT_VERSION, Cost, Evidence, Phase, PhaseTime, PromptReport, Report
from comfy.words import seconds_words


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
    """``450 s would be 382 s``; empty where it cannot be told, or would not be seen."""
    if cost is None or wall_s is None or cost.seconds < 1 or cost.seconds > wall_s:
        return ""
    return f"{wall_s:.0f} s would be {wall_s - cost.seconds:.0f} s"


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
