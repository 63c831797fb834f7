"""Changes to graphs, and what lint says of them, as people read them. No decisions here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from comfy.graphs.links import class_of
from comfy.lint import Diagnostic, Severity
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import Optimized, Outcome, RewriteStatus
from comfy.rewrites.registry import REWRITES
from comfy.rewrites.site import Site
from farm.cli.terminal.tables import plain_table
from farm.cli.terminal.words import size

_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_LONGEST: Final = 48  # characters of a value
_RULES: Final = {rewrite.name: rewrite for rewrite in REWRITES}
_SAID: Final = {
    RewriteStatus.SKIPPED: "not done",
    RewriteStatus.SUGGESTED: "think of it",
    RewriteStatus.FAILED: "failed, a fault of the farm",
}


def optimized_view(
    graph: Mapping[str, Any], site: Site, result: Optimized, accept: ChangeKind, *, explain: bool
) -> RenderableType:
    """What would be changed at one site, what would not, and why."""
    card = size(site.vram_bytes) if site.vram_bytes is not None else "VRAM not known"
    emulated = ", emulated" if site.emulated else ""
    where = f" ({card}{emulated}), accepting {accept}"
    parts: list[RenderableType] = [Text.assemble((site.name, "bold"), where)]
    applied = [outcome for outcome in result.outcomes if outcome.status is RewriteStatus.APPLIED]
    refused = [outcome for outcome in result.outcomes if outcome.status is RewriteStatus.REFUSED]
    parts += _changes(graph, applied) if applied else ["nothing to change"]
    if refused:
        parts += ["", Text("not accepted; --accept takes them:", "yellow"), *_changes(graph, refused)]
    if explain:
        parts += _effects(result.outcomes)
    parts += _notes(result.outcomes)
    return Group(*parts)


def lint_view(diagnostics: Sequence[Diagnostic]) -> RenderableType:
    """One line for each diagnostic, and what to do."""
    if not diagnostics:
        return "nothing to report"
    table = plain_table("", "rule", "where", "what")
    for diagnostic in diagnostics:
        where = _where(diagnostic.node_id, diagnostic.input_name, diagnostic.class_type)
        table.add_row(
            Text(diagnostic.severity, _COLOURS[diagnostic.severity]),
            diagnostic.rule,
            where,
            f"{diagnostic.message}\n→ {diagnostic.remedy}",
        )
    counts = [(sum(each.severity is level for each in diagnostics), level) for level in Severity]
    return Group(table, ", ".join(f"{count} {level}" for count, level in counts if count))


def _changes(graph: Mapping[str, Any], outcomes: Iterable[Outcome]) -> list[RenderableType]:
    table = plain_table("rewrite", "kind", "where", "old → new", "why")
    for outcome in outcomes:
        for change in outcome.changes:
            where = _where(change.node_id, change.input_name, class_of(graph, change.node_id))
            values = f"{_shown(change.old)} → {_shown(change.new)}"
            table.add_row(outcome.rewrite, outcome.kind, where, values, change.why)
    return [table]


def _effects(outcomes: Iterable[Outcome]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for outcome in outcomes:
        rule = _RULES.get(outcome.rewrite)
        if rule is not None and outcome.changes:
            effect = Text.assemble((rule.name, "bold"), f": {rule.effect}")
            lines += ["", effect, Text(rule.source, "dim")]
    return lines


def _notes(outcomes: Iterable[Outcome]) -> list[RenderableType]:
    return [
        f"{outcome.rewrite}: {_SAID.get(outcome.status, 'in part')}: {note}"
        for outcome in outcomes
        for note in outcome.notes
    ]


def _where(node_id: str | None, input_name: str | None, class_type: str | None) -> str:
    path = ".".join(part for part in (node_id, input_name) if part)
    return f"{path} ({class_type})" if class_type else path


def _shown(value: Any) -> str:
    text = "–" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
