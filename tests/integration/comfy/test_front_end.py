"""The exports that the corpus is held against are the front end's, whose folder `COMFYUI_FRONT_END` names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from comfy.node_defs.definitions import NodeDef, shipped_definitions
from tests.support import corpus
from tests.support.browser import find_browser
from tests.support.drawn import as_far_as_it_went, drawn_templates, without_titles
from tests.tools import random_pages
from tests.tools.front_end import front_end

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("COMFYUI_FRONT_END" not in os.environ, reason="COMFYUI_FRONT_END is not set"),
    pytest.mark.skipif(find_browser() is None, reason="there is no Chromium"),
]


def test_the_front_end_exports_what_is_kept_of_it() -> None:
    # Those that need no pack's own script.
    names = [
        name for name, each in corpus.facts().items() if each["kind"] in ("plain", "control", "subgraph")
    ]
    static = Path(os.environ["COMFYUI_FRONT_END"])

    with front_end(static, shipped_definitions(files={})) as page:
        made: dict[str, Any] = {name: page.export(json.loads(corpus.content(name))) for name in names}

    core = {name for name in names if "VHS" not in corpus.content(name).decode()}
    assert core
    assert {name: made[name] for name in core} == {name: corpus.exports()[name] for name in core}


def test_the_front_end_opens_every_template_that_was_drawn() -> None:
    static = Path(os.environ["COMFYUI_FRONT_END"])

    with front_end(static, shipped_definitions(files={})) as page:
        for name, (graph, workflow) in drawn_templates().items():
            exported = page.export(workflow)
            assert as_far_as_it_went(exported, graph) == without_titles(graph), name


def _module(node: NodeDef) -> str:
    return str(node.facts.get("python_module", ""))


def test_pages_drawn_at_random_become_what_the_front_end_exports() -> None:
    # Packs' nodes need their own scripts in the editor.
    every = shipped_definitions(files={})
    known = {name: node for name, node in every.items() if "custom_nodes" not in _module(node)}
    static = Path(os.environ["COMFYUI_FRONT_END"])

    with front_end(static, known) as page:
        drawn = [random_pages.draw(page, known, number) for number in range(1, 21)]

    assert [each.again for each in drawn if each.again]
    assert {each.number: found for each in drawn if (found := random_pages.faults(each, known))} == {}
