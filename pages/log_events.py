"""``docs/log-events.md``, made from every log call there is.

A log record has a short fixed sentence and an `event` in `extra`; both are read from the sources.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
LEVELS: Final = {"debug", "info", "warning", "error", "exception", "critical"}

_INTRODUCTION: Final = """\
# Log events

Made from the code by `make docs`; do not edit.

Each record of the farm's logs has a level, a fixed sentence, an `event` that never changes with the words,
and its facts beside it (`job_id`, `worker`, …). With `FARM_LOG_FORMAT=json` they are fields of one JSON
object a line. An event has one meaning; `exception` is an error with a traceback.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCall:
    """One call of a logger."""

    where: str  # file and line
    level: str
    sentence: str
    event: str | None  # None: the call names none


def log_calls() -> Iterator[LogCall]:
    """Every call of a module's `log`, in the order of files."""
    for package in ("farm", "worker", "comfy"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _is_log(node.func):
                    yield _read(node, f"{path.relative_to(ROOT)}:{node.lineno}")


def _is_log(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
    )


def _read(call: ast.Call, where: str) -> LogCall:
    assert isinstance(call.func, ast.Attribute)
    sentence = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    extra = next((each.value for each in call.keywords if each.arg == "extra"), None)
    named = dict(zip(extra.keys, extra.values, strict=True)) if isinstance(extra, ast.Dict) else {}
    events = [
        value.value
        for key, value in named.items()
        if isinstance(key, ast.Constant) and key.value == "event" and isinstance(value, ast.Constant)
    ]
    return LogCall(
        where=where,
        level=call.func.attr,
        sentence=str(sentence or ""),
        event=str(events[0]) if events else None,
    )


def page() -> str:
    """The page as text."""
    rows = {
        call.event: f"| `{call.event}` | {call.level} | {call.sentence} |"
        for call in log_calls()
        if call.event
    }
    table = [rows[event] for event in sorted(rows)]
    return "\n".join([_INTRODUCTION, "| event | level | meaning |", "| --- | --- | --- |", *table, ""])
