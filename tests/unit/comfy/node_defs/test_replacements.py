from __future__ import annotations

import copy
from typing import Any

import pytest

from comfy.generations import NEWEST, Generation
from comfy.node_defs.definitions import shipped_definitions
from comfy.node_defs.replacements import replace_nodes, replacements_of

_KNOWN = shipped_definitions(NEWEST)


def a_graph(**more: Any) -> dict[str, Any]:
    moved = {"class_type": "ResizeImagesByLongerEdge", "inputs": {"images": ["1", 0], "longer_edge": 64}}
    return {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {**moved, **more}}


def test_a_class_that_moved_is_renamed_with_its_inputs() -> None:
    graph = a_graph(_meta={"title": "Smaller"})
    before = copy.deepcopy(graph)

    found = replace_nodes(graph, _without("ResizeImagesByLongerEdge"), NEWEST)

    assert graph == before
    assert found is not None
    assert found["2"] == {
        "class_type": "ImageScaleToMaxDimension",
        "inputs": {"image": ["1", 0], "largest_size": 64, "upscale_method": "lanczos"},
        "_meta": {"title": "Smaller"},
    }
    assert found["1"] is graph["1"]


def test_an_installed_class_stays_although_it_has_a_successor() -> None:
    graph = {"1": {"class_type": "ImageBatch", "inputs": {"image1": ["2", 0]}}}

    assert "ImageBatch" in replacements_of(NEWEST)
    assert replace_nodes(graph, _KNOWN, NEWEST) is graph


def test_older_generations_rename_nothing() -> None:
    graph = a_graph()

    assert replace_nodes(graph, _without("ResizeImagesByLongerEdge"), Generation.named("0.12.1")) is graph


@pytest.mark.parametrize(
    "graph",
    [
        {"1": 5},
        {"1": None},
        {"1": {"class_type": "EmptyImage", "inputs": "none"}},
        {"1": {"class_type": ["EmptyImage"], "inputs": {}}},
        a_graph(),  # without _meta
        a_graph(_meta={}, inputs={"images": ["1", 0]}),
    ],
)
def test_the_server_stumbles_over_what_it_cannot_rename(graph: dict[str, Any]) -> None:
    assert replace_nodes(graph, _without("ResizeImagesByLongerEdge"), NEWEST) is None


def _without(class_type: str) -> dict[str, Any]:
    return {name: node for name, node in _KNOWN.items() if name != class_type}
