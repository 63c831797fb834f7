from __future__ import annotations

import json
from typing import Any

import pytest

from comfy.errors import GraphError
from comfy.graphs.graph import load_graph, load_noted

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": GRAPH}, "taken out of prompt"),
        ({"input": {"workflow": GRAPH}}, "taken out of input.workflow"),
        ({"anything": GRAPH, "client_id": "x"}, "left out what stands beside it: client_id"),
        (
            {"prompt": GRAPH, "extra_data": {"extra_pnginfo": {"workflow": {"nodes": [], "links": []}}}},
            "prompt",
        ),
        ({"output": GRAPH, "workflow": {"nodes": [], "version": 1}}, "taken out of output"),
    ],
)
def test_a_graph_is_taken_out_of_what_is_around_it(body: dict[str, Any], words: str) -> None:
    loaded = load_noted(json.dumps(body))

    assert loaded.graph == GRAPH
    assert words in loaded.notes[0]


def test_two_graphs_in_one_file_are_refused_with_their_places() -> None:
    with pytest.raises(GraphError, match=r"a, b\.c"):
        load_graph({"a": GRAPH, "b": {"c": GRAPH}})


@pytest.mark.parametrize("remark", ["made by a script", None, 3, ["x"], {"about": "nothing"}])
def test_what_stands_beside_the_nodes_is_left_out_and_said(remark: Any) -> None:
    loaded = load_noted({**GRAPH, "_comment": remark})

    assert loaded.graph == GRAPH
    assert loaded.notes == ("left out what is no node: _comment",)


def test_the_servers_own_mark_on_a_node_is_dropped() -> None:
    text = json.dumps({**GRAPH, "1": {**GRAPH["1"], "is_changed": [float("nan")]}})

    assert load_noted(text).graph == GRAPH


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf%s", b"%s\r\n"])
def test_marks_of_other_systems_do_no_harm(text: bytes) -> None:
    lines = json.dumps(GRAPH, indent=1).encode()

    assert load_graph(text.replace(b"%s", lines.replace(b"\n", b"\r\n"))) == GRAPH


def test_what_is_no_graph_is_told_as_before() -> None:
    with pytest.raises(GraphError, match="class_type"):
        load_graph({"1": {"inputs": {}}})
