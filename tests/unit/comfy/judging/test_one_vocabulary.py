"""A fault of form has one kind and one sentence, whether a server's definitions are at hand or not."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.errors import GraphError
from comfy.graphs.graph import load_graph
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.protocol.rejection import read_rejection

KNOWN = shipped_definitions()
PREVIEW = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}


def a_scale(source: Any) -> dict[str, Any]:
    inputs = {"image": source, "upscale_method": "bilinear", "width": 8, "height": 8, "crop": "disabled"}
    return {"class_type": "ImageScale", "inputs": inputs}


@pytest.mark.parametrize(
    "graph",
    [
        [],
        {"nodes": [], "links": [], "version": 0.4},
        {1: PREVIEW},
        {"1": "a text"},
        {"1": {"inputs": {}}},
        {"1": PREVIEW, "2": a_scale(["2", 0])},
        {"1": PREVIEW, "2": a_scale(["3", 0]), "3": a_scale(["2", 0])},
    ],
    ids=["list", "editor", "id", "text", "class", "own-tail", "circle"],
)
def test_a_fault_of_form_is_told_in_the_same_words(graph: Any) -> None:
    with pytest.raises(GraphError) as caught:
        load_graph(graph)

    (alone,) = caught.value.problems
    beside = [each for each in validate(graph, KNOWN).problems if each.kind == alone.kind]
    assert {each.node_id for each in beside} <= {"1", "2", "3", None}
    assert sorted(each.message.split("(")[0] for each in beside) == [alone.message.split("(")[0]]


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({}, "the graph has no nodes"),
        ({"1": {"class_type": "PreviewImage"}}, 'the node has no "inputs"'),
        ({"1": PREVIEW}, "the link leads to node 2, which is not in the graph"),
        ({"1": PREVIEW, "2": a_scale(["1", 0, 0])}, 'a link must be ["node id", output number]'),
    ],
    ids=["empty", "inputs", "nowhere", "no-link"],
)
def test_what_a_server_tells_by_a_name_of_its_own_has_our_sentence(graph: Any, words: str) -> None:
    with pytest.raises(GraphError) as caught:
        load_graph(graph)

    assert words in str(caught.value)
    assert any(words in each.message for each in validate(graph, KNOWN).problems)


def test_an_unknown_class_is_told_alike_before_and_after_it_was_sent() -> None:
    graph = {"1": {"class_type": "NoSuchNodeAnywhere", "inputs": {}}}
    verdict = validate(graph, KNOWN)

    (after,) = read_rejection(400, verdict.rejection(), graph).problems

    assert after in verdict.problems
