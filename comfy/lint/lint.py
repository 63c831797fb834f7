"""Hold a graph against all rules: `lint`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from comfy.graphs.graph import LeftOut
from comfy.graphs.links import class_of
from comfy.lint.diagnostic import Diagnostic, Severity
from comfy.lint.registry import RULES
from comfy.lint.rule import Rule, Subject
from comfy.rewrites.site import Site
from comfy.wan.find import runs_wan
from comfy.wan.roles import find_roles

MOST_OF_ONE_RULE: Final = 20  # a graph made to hurt could have thousands
_WORST_FIRST: Final = list(Severity)


def lint(
    graph: Mapping[str, Any], site: Site, *, left_out: tuple[LeftOut, ...] = ()
) -> tuple[Diagnostic, ...]:
    """Say what is wrong, slow or without effect in a checked graph, the worst first.

    Args:
        site: where it would run; what is not known of it is not judged.
        left_out: nodes of the editor's file that the graph does not have.
    """
    roles = find_roles(graph, site.definitions)
    subject = Subject(graph=graph, roles=roles, site=site, left_out=left_out)
    wan = runs_wan(graph, roles)
    diagnostics = [
        Diagnostic(
            rule=rule.id,
            severity=_severity(rule, site),
            message=found.message,
            remedy=rule.remedy,
            node_id=found.node_id,
            class_type=class_of(graph, found.node_id),
            input_name=found.input_name,
        )
        for rule in RULES
        if wan or rule.any_model
        for found in islice(rule.check(subject), MOST_OF_ONE_RULE)
    ]
    return tuple(sorted(diagnostics, key=lambda diagnostic: _WORST_FIRST.index(diagnostic.severity)))


def _severity(rule: Rule, site: Site) -> Severity:
    stale = rule.by_definitions and not site.is_live
    return Severity.WARNING if stale and rule.severity is Severity.ERROR else rule.severity
