"""Every official WAN workflow becomes a graph that ComfyUI would take."""

from __future__ import annotations

import pytest

from comfy.graphs.graph import check_graph
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.convert import convert
from tests.support import corpus
from tests.support.official_workflows import LEFT_OUT, OFFICIAL_FOLDER, wan_workflows


def test_there_are_as_many_as_the_package_has() -> None:
    assert len(wan_workflows()) >= 38
    assert wan_workflows().keys() == corpus.official_shapes().keys()


@pytest.mark.parametrize("name", corpus.official_shapes())
def test_an_official_workflow_converts_and_validates(name: str) -> None:
    known = shipped_definitions()

    graph = convert(wan_workflows()[name], known).graph

    check_graph(graph)
    verdict = validate(graph, known)
    assert [str(problem) for problem in verdict.problems] == []
    assert verdict.outputs


@pytest.mark.parametrize("name", corpus.official_shapes())
def test_an_official_workflow_becomes_what_the_front_end_exports(name: str) -> None:
    graph = convert(wan_workflows()[name], shipped_definitions(files={})).graph

    assert corpus.shape_of(graph) == corpus.official_shapes()[name]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_still_there(name: str) -> None:
    assert (OFFICIAL_FOLDER / f"{name}.json").is_file()
