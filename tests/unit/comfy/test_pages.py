"""The pages that are made from the rewrites and from the lint rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from comfy.lint.registry import RULES
from comfy.rewrites.registry import REWRITES
from pages.doctor import page as doctor_page
from pages.lint import page as lint_page
from pages.log_lines import page as log_page
from pages.rewrites import page as rewrites_page

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("rewrites.md", rewrites_page),
        ("lint.md", lint_page),
        ("log-lines.md", log_page),
        ("doctor.md", doctor_page),
    ],
)
def test_the_page_is_what_the_code_says(name: str, page: Callable[[], str]) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_rewrite_and_every_rule_is_on_its_page_with_a_source() -> None:
    rewrites = [(rewrite.name, rewrites_page()) for rewrite in REWRITES]
    rules = [(rule.id, lint_page()) for rule in RULES]
    for name, text in rewrites + rules:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert "](https://" in row
