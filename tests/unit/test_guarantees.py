"""The page of promises names tests: each of them must be there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_a_promise_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text()))
    files = (ROOT / "tests").rglob("test_*.py")
    there = {
        name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }

    assert len(named) > 30
    assert named - there == set()


def test_every_section_of_the_page_ends_with_its_tests() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    promises, _, _ = page.partition("## What is not promised")
    sections = [section.strip() for section in promises.split("\n## ")[1:]]

    assert len(sections) > 6
    untested = [each.splitlines()[0] for each in sections if not each.split("\n\n")[-1].startswith("Tests: ")]
    assert untested == []
