"""Apply the rewrites that a job accepts, and say of each what became of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from comfy.judging.validation import validate
from comfy.rewrites.change import Change, ChangeKind
from comfy.rewrites.draft import Draft, GaveUp, Reading
from comfy.rewrites.options import DEFAULT_OPTIONS, RewriteOptions
from comfy.rewrites.registry import REWRITES
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.site import Site

log = logging.getLogger(__name__)


class RewriteStatus(StrEnum):
    """What became of one rewrite."""

    APPLIED = "applied"
    REFUSED = "refused"  # the job does not accept its kind; `changes` is what it would have done
    SUGGESTED = "suggested"  # for a person to think of; `notes` says what
    SKIPPED = "skipped"  # something that it needs is missing or not known; `notes` says what
    FAILED = "failed"  # a fault of ours; the graph is as if it had not been tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One rewrite that had something to do, or to say."""

    rewrite: str
    kind: ChangeKind
    status: RewriteStatus
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()  # what it left as it is, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """The graph after all rewrites that were accepted."""

    graph: Mapping[str, Any]  # shares the nodes that did not change with the graph that was given
    outcomes: tuple[Outcome, ...]  # of those that had something to do or to say, in order
    untried: str = ""  # why no rewrite was tried at all

    @property
    def changes(self) -> tuple[Change, ...]:
        """Everything that was written, in order."""
        return tuple(
            change
            for outcome in self.outcomes
            if outcome.status is RewriteStatus.APPLIED
            for change in outcome.changes
        )


def optimize(
    graph: Mapping[str, Any],
    site: Site,
    *,
    accept: ChangeKind = ChangeKind.NEAR,
    options: RewriteOptions = DEFAULT_OPTIONS,
    rewrites: Sequence[Rewrite] = REWRITES,
) -> Optimized:
    """Try every rewrite on a checked graph; apply those whose kind is accepted.

    Never raises for what a rewrite does: one that fails is logged and named, and changes nothing.
    """
    now: Mapping[str, Any] = graph
    reading = Reading(now, site)
    outcomes = []
    for rewrite in rewrites:
        draft = Draft(
            now, site=site, options=options, kind=rewrite.kind, rewrite=rewrite.name, reading=reading
        )
        outcome = _tried(rewrite, draft, accept)
        if outcome is None:
            continue
        if outcome.status is RewriteStatus.APPLIED and (fault := _new_fault(now, draft.graph, site)):
            log.error(
                "Rewrite undone", extra={"event": "rewrite_undone", "rewrite": rewrite.name, "why": fault}
            )
            outcome = Outcome(
                rewrite=rewrite.name, kind=rewrite.kind, status=RewriteStatus.FAILED, notes=(fault,)
            )
        if outcome.status is RewriteStatus.APPLIED:
            now = draft.graph
            reading = Reading(now, site)
        outcomes.append(outcome)
    return Optimized(graph=now, outcomes=tuple(outcomes))


def _tried(rewrite: Rewrite, draft: Draft, accept: ChangeKind) -> Outcome | None:
    try:
        rewrite.apply(draft)
    except GaveUp as exc:
        return Outcome(
            rewrite=rewrite.name, kind=rewrite.kind, status=RewriteStatus.SKIPPED, notes=(str(exc),)
        )
    except Exception as exc:
        # A job is worth more than what a rewrite could have saved.
        log.exception("Rewrite failed", extra={"event": "rewrite_failed", "rewrite": rewrite.name})
        note = f"{type(exc).__name__}: {exc}"
        return Outcome(rewrite=rewrite.name, kind=rewrite.kind, status=RewriteStatus.FAILED, notes=(note,))
    if not draft.changes and not draft.notes and not draft.suggestions:
        return None
    status = RewriteStatus.SUGGESTED if draft.suggestions else RewriteStatus.SKIPPED
    if draft.changes:
        status = RewriteStatus.APPLIED if rewrite.kind.within(accept) else RewriteStatus.REFUSED
    return Outcome(
        rewrite=rewrite.name,
        kind=rewrite.kind,
        status=status,
        changes=tuple(draft.changes),
        notes=(*draft.suggestions, *draft.notes),
    )


def _new_fault(before: Mapping[str, Any], after: Mapping[str, Any], site: Site) -> str | None:
    """What the installed nodes would say of the changed graph and not of the one before; None: nothing."""
    found = validate(after, site.definitions).problems
    if not found:
        return None
    known = {
        (problem.kind, problem.node_id, problem.input_name)
        for problem in validate(before, site.definitions).problems
    }
    new = [each for each in found if (each.kind, each.node_id, each.input_name) not in known]
    return f"the changed graph would be refused: {new[0]}" if new else None
