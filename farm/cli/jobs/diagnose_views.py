"""A diagnosis as a person reads it: a picture first, then findings by seconds lost, then the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comfy.doctor.report import Finding, Phase, PromptReport, Report, Severity
from comfy.doctor.words import (
    after_words,
    cost_words,
    evidence_words,
    left_out_words,
    of_source,
    shares,
    told_once,
    wall_of,
    worth_showing,
)
from comfy.words import seconds_words
from farm.cli.terminal.tables import plain_table
from farm.reports import FleetDiagnosis

_MOST_PROMPTS: Final = 5
_MOST_UNKNOWN: Final = 5
# A colour and a letter: a file and an eye that tells no colours have the letter.
MARKS: Final = {
    Phase.PAUSED: ("z", "bright_black"),
    Phase.WAITING: ("w", "bright_black"),
    Phase.LEASE: ("d", "bright_magenta"),
    Phase.BACKOFF: ("b", "bright_black"),
    Phase.HELD: ("h", "bright_black"),
    Phase.PREPARING: ("p", "bright_black"),
    Phase.DISCARDED: ("x", "bright_magenta"),
    Phase.STARTING: ("s", "bright_black"),
    Phase.LOADING: ("L", "yellow"),
    Phase.EVICTING: ("v", "yellow"),
    Phase.TEXT: ("T", "bright_yellow"),
    Phase.IMAGE: ("I", "bright_yellow"),
    Phase.SAMPLING: ("S", "blue"),
    Phase.SAMPLING_HIGH: ("H", "blue"),
    Phase.SAMPLING_LOW: ("l", "bright_blue"),
    Phase.VAE: ("V", "green"),
    Phase.FRAMES: ("F", "bright_green"),
    Phase.SAVING: ("e", "magenta"),
    Phase.FINISHING: ("f", "magenta"),
    Phase.STOPPING: ("!", "bright_magenta"),
    Phase.COLLECTING: ("c", "bright_black"),
    Phase.PUBLISHING: ("u", "cyan"),
    Phase.OTHER: ("o", "white"),
    Phase.UNEXPLAINED: ("?", "red"),
}
_SEVERITIES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold"}


def report_view(report: Report, *, width: int) -> RenderableType:
    """All of a report.

    Args:
        width: of the timeline, in cells.
    """
    return Group(*_parts(report, width))


def findings_view(report: Report) -> RenderableType:
    """The findings alone, a line each."""
    table = plain_table("lost", "finding", "remedy")
    for finding in report.findings:
        table.add_row(cost_words(finding.cost), Text(finding.message), Text(finding.remedy))
    return table


def _parts(report: Report, width: int) -> Iterator[RenderableType]:
    shown = worth_showing(report, _MOST_PROMPTS)
    for prompt in shown:
        yield from _prompt(prompt, width)
    if hidden := left_out_words(report, shown):
        yield f"({hidden}; --json has all {len(report.prompts)})\n"
    if not report.prompts:
        yield "no prompt was found in this log\n"
    yield Text("Findings, by seconds lost" if report.findings else "No findings", "bold")
    for finding, about in told_once(report):
        yield _finding(finding, about, report)
    if report.folklore:
        yield Text("\nNot the cause, though it is often said", "bold")
    for each in report.folklore:
        yield Text.assemble(("  claim  ", "dim"), each.claim)
        yield Text.assemble(("  truth  ", "dim"), each.truth)
        yield from (Text(f"         {evidence_words(line)}", "dim") for line in each.evidence)
    if report.levers:
        yield Text("\nWhat would make it shorter", "bold")
    for lever in report.levers:
        yield f"  {cost_words(lever.saves)}: {lever.what} [{lever.saves.formula}]"
    if report.questions:
        yield Text("\nNot concluded", "bold")
    for question in report.questions:
        yield f"  {question.what}\n    decided by: {question.decides}"
    yield from _log(report)


def _prompt(prompt: PromptReport, width: int) -> Iterator[RenderableType]:
    wall = seconds_words(prompt.wall_s) if prompt.wall_s is not None else "no time told"
    yield Text(f"Prompt {prompt.number}{of_source(prompt)}: {prompt.status}, {wall}", "bold")
    if prompt.error:
        yield f"  {prompt.error}"
    cells = shares(prompt.phases, width)
    if cells:
        yield Text.assemble(*((MARKS[phase][0] * count, f"on {MARKS[phase][1]}") for phase, count in cells))
        yield _legend(prompt)


def _legend(prompt: PromptReport) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "left", "right", "right", "left"):
        table.add_column(justify="right" if justify == "right" else "left", overflow="fold")
    whole = sum(max(phase.seconds, 0.0) for phase in prompt.phases) or 1.0
    for phase in prompt.phases:
        mark, colour = MARKS[phase.phase]
        table.add_row(
            Text(mark, f"on {colour}"),
            phase.phase.replace("_", " "),
            seconds_words(phase.seconds),
            f"{phase.seconds / whole:.0%}",
            f"{phase.detail} ({phase.source})" if phase.detail else f"({phase.source})",
        )
    table.add_row("", "", "", "", "")
    return table


def _finding(finding: Finding, about: str, report: Report) -> Text:
    text = Text.assemble(
        (f"  {cost_words(finding.cost):>10}  ", "bold"),
        (finding.message, _SEVERITIES[finding.severity]),
        f" [{finding.id}, {finding.confidence}]",
        about,
        f"\n      → {finding.remedy}",
    )
    if finding.cost is not None:
        after = after_words(finding.cost, wall_of(report, finding.prompt))
        parts = (finding.cost.formula, finding.cost.source, after)
        text.append("\n      = " + "; ".join(part for part in parts if part), "dim")
    for each in finding.evidence:
        text.append(f"\n      {evidence_words(each)}", "dim")
    return text


def _log(report: Report) -> Iterator[RenderableType]:
    if report.log.lines:
        stamped = f", {report.log.stamped} with a stamp" if report.log.stamped else ", none with a stamp"
        yield Text(f"\n{report.log.lines} lines, {report.log.known} read as facts{stamped}", "dim")
    for each in report.log.unknown[-_MOST_UNKNOWN:]:
        yield Text(f"  unknown: {evidence_words(each)}", "dim")


def fleet_view(found: FleetDiagnosis) -> RenderableType:
    """What many jobs have lost, by finding and worker."""
    table = plain_table("lost", "jobs", "finding", "worker", "remedy")
    for each in found.findings:
        lost = cost_words(None)
        if each.seconds is not None:
            lost = hours_words(each.seconds, of="GPU" if each.on_card else "job")
        table.add_row(lost, str(each.jobs), each.finding, each.worker, each.remedy)
    lost_s = sum(each.seconds or 0.0 for each in found.findings if each.on_card)
    beside_s = sum(each.seconds or 0.0 for each in found.findings if not each.on_card)
    beside = f", {hours_words(beside_s, of='job')} beside it" if beside_s else ""
    without = f"; {found.without} have no report" if found.without else ""
    jobs = f"{found.jobs} job{'' if found.jobs == 1 else 's'}"
    told = (
        f"{jobs}, {hours_words(found.gpu_s)} on the card, {hours_words(lost_s)} of them lost{beside}{without}"
    )
    return Group(table, told) if found.findings else told


def hours_words(seconds: float, *, of: str = "GPU") -> str:
    """``3.1 GPU-hours``, or less than one in minutes and seconds."""
    return f"{seconds / 3600:.1f} {of}-hours" if seconds >= 3600 else seconds_words(seconds)
