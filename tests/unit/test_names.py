"""Names of modules and classes in docstrings, comments and pages are names that exist."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("comfy", "farm", "worker", "pages", "bench", "deploy", "docs", "tests")
# `farm` is also what examples call their Farm, and `farm.set.…` are keys of a prompt's extra_data.
NAME = re.compile(r"`((?:comfy|worker|pages)(?:\.\w+)+|farm\.(?!set\.)\w+(?:\.\w+)+)`")


def test_what_is_named_in_words_exists() -> None:
    places = [(ROOT / place).rglob(f"*.{ending}") for place in PLACES for ending in ("py", "md")]
    files = [*ROOT.glob("*.md"), *(file for found in places for file in found)]

    named = [(name, file) for file in files for name in NAME.findall(file.read_text(encoding="utf-8"))]

    assert len(named) > 50
    assert [f"{name} in {file.relative_to(ROOT)}" for name, file in named if not _exists(name)] == []


def _exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True
