"""``docs/lint.md``, made from the rules themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.lint.diagnostic import Severity
from comfy.lint.registry import RULES
from pages.rewrites import linked, table_row

_INTRODUCTION: Final = """\
# Lint

`farm lint FILE` says what is wrong, slow or without effect in a graph that ComfyUI would run without a word.
It judges for the live workers, or for `--gpu "RTX 4090"`, `--vram 24`, `--worker NAME`; `--json` gives the
same to programs. It ends with 0 (nothing, or only things worth knowing), 10 (an error) or 11 (a warning).

| severity | meaning |
| --- | --- |
| `error` | the clip will not be what was asked for, or there will be none |
| `warning` | seconds or quality are lost, most likely without intent |
| `info` | worth to know |

Ids are stable. This page is made from the code by `make docs`; a test holds the two together.
"""


def page() -> str:
    """The page as text."""
    return _INTRODUCTION + "".join(_section(severity) for severity in Severity)


def _section(severity: Severity) -> str:
    head = f"\n## {severity.value.capitalize()}s\n\n| id | what | remedy |\n| --- | --- | --- |\n"
    return head + "\n".join(_rows(severity)) + "\n"


def _rows(severity: Severity) -> Iterator[str]:
    for rule in sorted(RULES, key=lambda rule: rule.id):
        if rule.severity is severity:
            yield table_row(f"`{rule.id}`", f"{rule.title} ({linked(rule.source)})", rule.remedy)
