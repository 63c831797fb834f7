"""Equal graphs give equal bytes, and the graph comes back."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from comfy.graphs.image import graph_of, image_of, image_of_graph


def bare(node: Any) -> tuple[str, dict[str, Any]]:
    return node["class_type"], node["inputs"]


def a_graph(text: str = "a cat") -> dict[str, Any]:
    return {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["38", 0]}, "_meta": {}}}


def test_equal_graphs_give_equal_bytes_however_they_were_made() -> None:
    # One shares its texts with the program, the other has texts of its own.
    graph = a_graph()

    assert image_of_graph(graph, bare) == image_of_graph(json.loads(json.dumps(graph)), bare)
    assert image_of_graph(graph, bare) != image_of_graph(a_graph("a dog"), bare)


def test_a_graph_comes_back_from_its_bytes() -> None:
    image = image_of_graph(a_graph(), bare)

    assert image is not None
    assert graph_of(image) == a_graph()


def test_what_is_too_large_or_no_json_is_not_remembered() -> None:
    class Colour(StrEnum):
        RED = "red"

    assert image_of(a_graph("x" * 256 * 1024)) is None
    assert image_of(a_graph(Colour.RED)) is None
