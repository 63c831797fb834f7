"""What the editor opens of a graph is the graph."""

from __future__ import annotations

import pytest

from comfy.errors import GraphError
from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.convert import convert
from comfy.ui.draw import draw
from comfy.wan.templates import TEMPLATES
from tests.support.drawn import as_far_as_it_went, drawn_templates, without_titles

KNOWN = shipped_definitions()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_was_drawn_is_read_as_it_was(name: str) -> None:
    graph, workflow = drawn_templates()[name]

    converted = convert(workflow, KNOWN)

    assert as_far_as_it_went(converted.graph, graph) == without_titles(graph)
    assert converted.notes == ()


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_node_lies_on_another(name: str) -> None:
    _, workflow = drawn_templates()[name]

    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]

    for at, (x, y, width, height) in enumerate(boxes):
        for left, top, _, _ in boxes[at + 1 :]:
            assert not (x <= left < x + width and y <= top < y + height)


def test_a_node_that_nobody_knows_is_named() -> None:
    with pytest.raises(GraphError, match="Nobodys"):
        draw({"1": {"class_type": "Nobodys", "inputs": {}}}, KNOWN)
