"""Files made to hurt: a clear error, soon."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

from comfy.errors import GraphError
from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.load import load_any
from tests.unit.comfy.ui.workflows import Sheet, picture

# Generous: each takes well under a second on an idle machine.
DEADLINE_S = 20.0


def refused(workflow: Any) -> str:
    """The kind of the problem, within the deadline."""
    started = time.process_time()
    with pytest.raises(GraphError) as caught:
        load_any(workflow, shipped_definitions)
    assert time.process_time() - started < DEADLINE_S
    assert all(len(str(problem)) < 1000 for problem in caught.value.problems)
    return caught.value.problems[0].kind


def test_a_hundred_thousand_nodes() -> None:
    nodes = [{"id": number, "type": "Note"} for number in range(100_000)]

    assert refused({"nodes": nodes, "links": []}) == "too_many_nodes"


def test_subgraphs_that_double_at_every_level() -> None:
    levels = []
    for level in range(30):
        sheet = Sheet()
        sheet.node(1, f"level{level + 1}")
        sheet.node(2, f"level{level + 1}")
        levels.append(sheet.subgraph(f"level{level}", (), ()))
    sheet = Sheet()
    sheet.node(1, "level0")

    assert refused(sheet.saved(*levels)) in ("too_many_nodes", "too_deep")


def test_subgraphs_nested_a_thousand_deep() -> None:
    levels = []
    for level in range(1000):
        sheet = Sheet()
        sheet.node(1, f"level{level + 1}")
        levels.append(sheet.subgraph(f"level{level}", (), ()))
    sheet = Sheet()
    sheet.node(1, "level0")

    assert refused(sheet.saved(*levels)) == "too_deep"


def test_a_subgraph_that_contains_itself() -> None:
    inner = Sheet()
    inner.node(1, "loop")
    sheet = Sheet()
    sheet.node(1, "loop")

    assert refused(sheet.saved(inner.subgraph("loop", (), ()))) == "recursive_subgraph"


def test_reroutes_in_a_circle() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(2, "Reroute", inputs=(":*",), outputs=("*",))
    sheet.node(3, "Reroute", inputs=(":*",), outputs=("*",))
    sheet.link(2, 0, 3, 0)
    sheet.link(3, 0, 2, 0)
    sheet.link(3, 0, 9, 0)

    assert refused(sheet.saved()) == "cycle"


def test_nodes_in_a_circle() -> None:
    sheet = Sheet()
    sheet.node(1, "ImageScaleBy", "area", 2.0, inputs=("image:IMAGE",), outputs=("IMAGE",))
    sheet.node(2, "ImageScaleBy", "area", 2.0, inputs=("image:IMAGE",), outputs=("IMAGE",))
    sheet.link(1, 0, 2, 0)
    sheet.link(2, 0, 1, 0)

    assert refused(sheet.saved()) == "cycle"


def test_a_long_chain_of_reroutes_read_by_many() -> None:
    sheet = Sheet()
    sheet.node(0, "EmptyImage", 8, 8, 1, 0, outputs=("IMAGE",))
    for number in range(1, 5000):
        sheet.node(number, "Reroute", inputs=(":*",), outputs=("*",))
        sheet.nodes[-1]["inputs"][0]["link"] = number
        sheet.links.append([number, number - 1, 0, number, 0, "*"])
    for number in range(5000, 6500):
        sheet.node(number, "PreviewImage", inputs=("images:IMAGE",))
        sheet.nodes[-1]["inputs"][0]["link"] = number
        sheet.links.append([number, 4999, 0, number, 0, "*"])
    started = time.process_time()

    graph = load_any(sheet.saved(), shipped_definitions).graph

    assert graph["6499"]["inputs"]["images"] == ["0", 0]
    assert time.process_time() - started < DEADLINE_S


def test_a_subgraph_with_thousands_of_inputs() -> None:
    count = 4000
    inner = Sheet()
    for number in range(1, count):
        inner.node(number, "PreviewAny", inputs=("source:*",), mode=0 if number < 10 else 2)
        inner.nodes[-1]["inputs"][0]["link"] = number
        inner.links.append([number, -10, number - 1, number, 0, "*"])
    inputs = tuple(f"i{number}:*" for number in range(count))
    sheet = Sheet()
    sheet.node(1, "wide", *range(count), inputs=inputs)
    started = time.process_time()

    graph = load_any(sheet.saved(inner.subgraph("wide", inputs, ())), shipped_definitions).graph

    assert len(graph) == 9
    assert time.process_time() - started < DEADLINE_S


def test_thousands_of_set_and_get_nodes() -> None:
    sheet = Sheet()
    for number in range(1, 1500):
        sheet.node(number, "GetNode", f"n{number}", outputs=("*",))
        sheet.node(20_000 + number, "SetNode", f"n{number}", inputs=("*:*",))
        sheet.node(40_000 + number, "PreviewAny", inputs=("source:*",))
        sheet.nodes[-1]["inputs"][0]["link"] = number
        sheet.links.append([number, number, 0, 40_000 + number, 0, "*"])
    started = time.process_time()

    graph = load_any(sheet.saved(), shipped_definitions).graph

    assert graph["40001"]["inputs"] == {}
    assert time.process_time() - started < DEADLINE_S


def test_a_number_that_is_none() -> None:
    sheet = Sheet()
    sheet.node(1, "EmptyImage", float("nan"), 8, 1, 0)

    assert refused(sheet.saved()) == "not_a_number"
    assert refused(json.dumps(sheet.saved())) == "not_a_number"


def test_huge_texts() -> None:
    sheet = Sheet()
    sheet.node(1, "EmptyImage", "x" * 3_000_000, 8, 1, 0)

    assert refused(json.dumps(sheet.saved())) == "shifted_values"


@pytest.mark.parametrize(
    "broken",
    [
        {"nodes": [5]},
        {"nodes": [{"type": "Note"}]},
        {"nodes": [{"id": True, "type": "Note"}]},
        {"nodes": [{"id": float("nan"), "type": "Note"}]},
        {"nodes": [{"id": 1}]},
        {"nodes": [{"id": 1, "type": "Note"}], "links": [[1, 2]]},
        {"nodes": [{"id": 1, "type": "Note"}], "links": [[1, 2, "x", 3, 0]]},
        {"nodes": [{"id": 1, "type": "Note"}], "links": ["x"]},
        {"nodes": []},
        {"nodes": [{"id": 1, "type": "EmptyImage", "widgets_values": "text"}]},
        {"nodes": [{"id": 1, "type": "Note"}], "definitions": {"subgraphs": [{"nodes": [{}]}]}},
    ],
)
def test_broken_files(broken: dict[str, Any]) -> None:
    assert refused(broken)


@pytest.mark.parametrize(
    "odd",
    [
        {"inputs": "x", "outputs": 5, "widgets_values": {}, "mode": "x", "title": 5, "properties": []},
        {"inputs": [None, 5, {"name": 3, "type": ["a"], "link": 99, "widget": 5}], "outputs": [None]},
        {"properties": {"proxyWidgets": [5, ["a"], "x"]}, "flags": None},
    ],
)
def test_odd_nodes_are_read_as_far_as_they_go(odd: dict[str, Any]) -> None:
    workflow = {
        "nodes": [{"id": 1, "type": "EmptyImage", **odd}],
        "definitions": 5,
        "extra": [],
        "links": None,
    }

    graph = load_any(workflow, shipped_definitions).graph

    assert graph["1"]["inputs"]["width"] == 512


def test_thousands_of_group_nodes_of_thousands() -> None:
    sheet = Sheet()
    for number in range(3000):
        sheet.node(number, "workflow>Wide")
    inner = [{"type": "EmptyImage", "widgets_values": [64, 64, 1, 0]} for _ in range(3000)]

    workflow = sheet.saved(groupNodes={"Wide": {"nodes": inner, "links": []}})

    assert refused(workflow) == "too_many_nodes"


@pytest.mark.parametrize(
    "group",
    [
        None,
        {"nodes": None},
        {"nodes": [None], "links": []},
        {"nodes": [{"type": "EmptyImage"}], "links": [None, [0], [0, 0, 9, 0], ["a", 0, 0, 0]]},
        {"nodes": [{"type": "EmptyImage"}], "external": [None, [0]], "config": {"0": 1}},
        {"nodes": [{"type": "EmptyImage", "widgets_values": ["lanczos"]}]},
    ],
)
def test_broken_group_nodes(group: Any) -> None:
    sheet = Sheet()
    sheet.node(1, "workflow>Odd", 64, inputs=("a:INT",), outputs=("IMAGE",))
    sheet.node(2, "SaveImage", "x", inputs=("images:IMAGE",))
    sheet.link(1, 0, 2, 0)

    with contextlib.suppress(GraphError):
        load_any(sheet.saved(groupNodes={"Odd": group}), shipped_definitions)
