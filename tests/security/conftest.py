"""Counts what was tried, by the kind of attack: `pytest tests/security` ends with the table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

# G, what a variable that was never meant for us does, needs whole farms: `tests/e2e/test_surroundings.py`.
_KINDS: Final = {
    "A. Verdicts from text that a stranger writes": ("verdicts_from_text",),
    "B. A gate that reads otherwise than what it guards": ("path_gate",),
    "C. Limits on parts and none on the whole": ("limits", "connections"),
    "D. Stored records trusted as if we had written them": ("stored_records",),
    "E. Foreign text at the terminal and in logs": ("foreign_text",),
    "F. Secrets and the child": (
        "local_secrets",
        "files_for_owner",
        "another_user",
        "orders_by_message",
        "strange_messages",
        "users_by_role",
    ),
    "H. One reading of every address": ("addresses", "managed_redis"),
    "I. Nothing but our own errors": ("nothing_but_our_errors", "public_calls"),
}
_KIND_OF: Final = {f"test_{name}": kind for kind, names in _KINDS.items() for name in names}
_HERE: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have every file name its kind."""
    names = {item.path.stem for item in items if item.path.parent == _HERE}
    if unknown := sorted(names - _KIND_OF.keys()):
        raise pytest.UsageError(f"of which kind is {', '.join(unknown)}? Say so in {__file__}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many members of each kind were tried, and how many of them broke something."""
    tried: Counter[str] = Counter()
    broke: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            path = Path(report.nodeid.partition("::")[0])
            if path.parent.name == _HERE.name and path.stem in _KIND_OF:
                tried[_KIND_OF[path.stem]] += 1
                broke[_KIND_OF[path.stem]] += outcome != "passed"
    if not tried:
        return
    terminalreporter.section("members tried, by kind")
    for kind in _KINDS:
        if tried[kind]:
            terminalreporter.line(f"{kind:<56} {tried[kind]:>5} tried {broke[kind]:>5} broke")
