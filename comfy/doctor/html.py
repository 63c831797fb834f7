"""A report as one HTML file: no network, light and dark, good to be printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from comfy.doctor.report import Evidence, Finding, Phase, PhaseTime, PromptReport, Report
from comfy.doctor.words import (
    after_words,
    cost_words,
    evidence_words,
    left_out_words,
    of_source,
    told_once,
    wall_of,
    worth_showing,
)
from comfy.words import seconds_words

_MOST_PROMPTS: Final = 20
# Told apart by people who see no red, and on paper by the words beside them.
COLOURS: Final = {
    Phase.PAUSED: "#d6d6d6",
    Phase.WAITING: "#b8b8b8",
    Phase.LEASE: "#c9a0b4",
    Phase.BACKOFF: "#c4b0a0",
    Phase.HELD: "#b4bcc9",
    Phase.PREPARING: "#8c8c8c",
    Phase.DISCARDED: "#882255",
    Phase.STARTING: "#707070",
    Phase.LOADING: "#e69f00",
    Phase.EVICTING: "#b35900",
    Phase.TEXT: "#f0e442",
    Phase.IMAGE: "#d9c400",
    Phase.SAMPLING: "#0072b2",
    Phase.SAMPLING_HIGH: "#0072b2",
    Phase.SAMPLING_LOW: "#56b4e9",
    Phase.VAE: "#009e73",
    Phase.FRAMES: "#66c2a5",
    Phase.SAVING: "#cc79a7",
    Phase.FINISHING: "#a06fb0",
    Phase.STOPPING: "#994455",
    Phase.COLLECTING: "#9a8f80",
    Phase.PUBLISHING: "#7d7468",
    Phase.OTHER: "#a0a0a0",
    Phase.UNEXPLAINED: "#d55e00",
}
_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--faint:#666;--line:#ddd;--card:#f7f7f7}
@media(prefers-color-scheme:dark){
:root{--ink:#e8e8e8;--paper:#161616;--faint:#a0a0a0;--line:#3a3a3a;--card:#202020}}
@media print{
:root{--ink:#000;--paper:#fff;--faint:#444;--line:#bbb;--card:#fff}
section{break-inside:avoid}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:var(--ink);background:var(--paper)}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}code,.ev{font:12.5px/1.4 ui-monospace,monospace}
.bar{width:100%;height:2.4rem;display:block}.faint,.ev{color:var(--faint)}
section{border:1px solid var(--line);background:var(--card);border-radius:.4rem;padding:.7rem 1rem;
margin:.7rem 0}
section h3{margin:0 0 .3rem;font-size:1rem}.cost{float:right;font-weight:600}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top}
td.n{text-align:right;white-space:nowrap}i{display:inline-block;width:.8rem;height:.8rem;margin-right:.4rem}
.ev{overflow-wrap:anywhere;margin:.3rem 0 0;padding-left:1rem}
"""


def page(report: Report, title: str) -> str:
    """The whole file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(_body(report)) + "\n</body></html>\n"
    )


def _body(report: Report) -> Iterator[str]:
    yield f'<p class="faint">{escape(_server(report))}</p>'
    shown = worth_showing(report, _MOST_PROMPTS)
    for prompt in shown:
        yield from _prompt(prompt)
    if hidden := left_out_words(report, shown):
        yield f'<p class="faint">{hidden}.</p>'
    yield "<h2>Findings</h2>" if report.findings else "<h2>No findings</h2>"
    for finding, about in told_once(report):
        yield _finding(finding, about, report)
    if report.folklore:
        yield "<h2>Not the cause</h2>"
    for each in report.folklore:
        yield (
            f"<section><h3>{escape(each.claim)}</h3><div>{escape(each.truth)}</div>"
            f'{_evidence(each.evidence)}<div class="faint">{escape(each.source)}</div></section>'
        )
    if report.levers:
        yield "<h2>What would make it shorter</h2><table>"
        for lever in report.levers:
            yield (
                f'<tr><td class="n">{escape(cost_words(lever.saves))}</td><td>{escape(lever.what)}'
                f'<div class="faint">{escape(lever.saves.formula)}</div></td></tr>'
            )
        yield "</table>"
    if report.questions:
        yield "<h2>Not concluded</h2><table>"
        for question in report.questions:
            yield f"<tr><td>{escape(question.what)}</td><td>decided by: {escape(question.decides)}</td></tr>"
        yield "</table>"
    yield from _log(report)


def _server(report: Report) -> str:
    server = report.server
    known = (f"ComfyUI {server.version}" if server.version else "", server.device, server.vram_state)
    return " · ".join(each for each in known if each) or "the log does not say how ComfyUI was started"


def _prompt(prompt: PromptReport) -> Iterator[str]:
    wall = seconds_words(prompt.wall_s) if prompt.wall_s is not None else "no time told"
    yield f"<h2>Prompt {prompt.number}{escape(of_source(prompt))}: {escape(prompt.status)}, {wall}</h2>"
    if prompt.error:
        yield f"<p>{escape(prompt.error)}</p>"
    phases = [phase for phase in prompt.phases if phase.seconds > 0]
    if phases:
        yield _bar(phases)
        yield _legend(phases)


def _bar(phases: list[PhaseTime]) -> str:
    whole = sum(phase.seconds for phase in phases)
    left, parts = 0.0, []
    for phase in phases:
        width = phase.seconds / whole * 1000
        name = escape(f"{phase.phase} {seconds_words(phase.seconds)}")
        parts.append(
            f'<rect x="{left:.2f}" width="{width:.2f}" height="40" fill="{COLOURS[phase.phase]}">'
            f"<title>{name}</title></rect>"
        )
        left += width
    return (
        '<svg class="bar" viewBox="0 0 1000 40" preserveAspectRatio="none" role="img" '
        'aria-label="timeline">'
        f"{''.join(parts)}</svg>"
    )


def _legend(phases: list[PhaseTime]) -> str:
    whole = sum(phase.seconds for phase in phases)
    names = {phase.phase: escape(phase.phase.replace("_", " ")) for phase in phases}
    rows = (
        f'<tr><td><i style="background:{COLOURS[phase.phase]}"></i>{names[phase.phase]}</td>'
        f'<td class="n">{seconds_words(phase.seconds)}</td><td class="n">{phase.seconds / whole:.0%}</td>'
        f'<td class="faint">{escape(phase.detail)}</td><td class="faint">{escape(phase.source)}</td></tr>'
        for phase in phases
    )
    return f"<table>{''.join(rows)}</table>"


def _finding(finding: Finding, about: str, report: Report) -> str:
    after = after_words(finding.cost, wall_of(report, finding.prompt))
    formula = ""
    if finding.cost is not None:
        formula = f'<div class="faint">{escape(finding.cost.formula)}'
        formula += f"; {escape(finding.cost.source)}" if finding.cost.source else ""
        formula += f"; {escape(after)}" if after else ""
        formula += "</div>"
    return (
        f'<section><span class="cost">{escape(cost_words(finding.cost))}</span>'
        f"<h3>{escape(finding.message)}{about}</h3><div>→ {escape(finding.remedy)}</div>{formula}"
        f'<div class="faint"><code>{finding.id}</code>, {finding.severity}, {finding.confidence}</div>'
        f"{_evidence(finding.evidence)}</section>"
    )


def _evidence(evidence: Iterable[Evidence]) -> str:
    lines = "<br>".join(escape(evidence_words(each)) for each in evidence)
    return f'<div class="ev">{lines}</div>' if lines else ""


def _log(report: Report) -> Iterator[str]:
    if report.log.lines:
        yield (
            f'<h2>The log</h2><p class="faint">{report.log.lines} lines, {report.log.known} read as facts, '
            f"{report.log.stamped} of them with a stamp.</p>"
        )
    if report.log.unknown:
        yield "<p>Warnings and errors that nobody knows:</p>" + _evidence(report.log.unknown)
