"""Every file of the corpus becomes the graph that ComfyUI's own front end exports of it."""

from __future__ import annotations

from collections import Counter

import pytest

from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.load import load_any
from tests.support import corpus


def test_there_are_files_enough_and_two_of_each_kind() -> None:
    kinds = Counter(each["kind"] for each in corpus.facts().values())

    assert kinds.total() >= 60
    assert min(kinds.values()) >= 2


@pytest.mark.parametrize("name", corpus.facts())
def test_a_file_becomes_what_the_front_end_exports(name: str) -> None:
    # Nothing is known of the classes of the kind `unknown_pack`: the file itself tells.
    graph = load_any(corpus.content(name), lambda: shipped_definitions(files={})).graph

    assert corpus.is_right(name, graph), name


@pytest.mark.parametrize(
    "name", [name for name, each in corpus.facts().items() if each["kind"] in ("cast", "wrapped", "remark")]
)
def test_what_is_taken_otherwise_than_it_stands_is_said(name: str) -> None:
    assert load_any(corpus.content(name), shipped_definitions).notes
