"""Of each labelled file lint tells what is written beside it, and nothing else; no label is left over."""

from __future__ import annotations

import json

import pytest

from bench.files import EXPECTED, FOLDERS, lint_score, rules_told
from comfy.lint.registry import RULES
from tests.support import corpus

LABELS = json.loads(EXPECTED.read_text(encoding="utf-8"))
FILES = [(folder, name) for folder, files in LABELS.items() for name in files]


@pytest.mark.parametrize(("folder", "name"), FILES)
def test_lint_tells_what_is_there_and_nothing_else(folder: str, name: str) -> None:
    told = rules_told((FOLDERS[folder] / f"{name}.json").read_bytes())

    assert told == sorted(LABELS[folder][name])


def test_every_file_of_the_corpus_is_labelled_with_rules_that_there_are() -> None:
    known = {rule.id for rule in RULES}

    assert set(corpus.facts()) == set(LABELS["corpus"])
    assert all(set(rules) <= known for files in LABELS.values() for rules in files.values())


def test_the_figures_meet_their_aims() -> None:
    score, _ = lint_score()

    assert score.recall >= 0.85
    assert score.precision >= 0.95
