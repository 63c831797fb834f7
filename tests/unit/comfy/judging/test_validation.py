from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy.generations import GENERATIONS, Generation
from comfy.judging.reasons import types_fit
from comfy.judging.validation import Verdict, validate
from comfy.node_defs.definitions import Definitions, shipped_definitions

_CAPTURED = json.loads((Path(__file__).parents[3] / "data/comfyui/validation-0.3.64.json").read_text())
V0_3_64, V0_12_1 = Generation.named("0.3.64"), Generation.named("0.12.1")
_OLD = shipped_definitions(V0_3_64, files=_CAPTURED["files"])
_NEW = shipped_definitions(V0_12_1, files=_CAPTURED["files"])

Graph = dict[str, Any]


def a_graph() -> Graph:
    graph: Graph = copy.deepcopy(_CAPTURED["graph"])
    return graph


def judge(graph: Any, definitions: Definitions = _NEW, generation: Generation = V0_12_1) -> Verdict:
    return validate(graph, definitions, generation=generation, input_file_exists=lambda _: False)


def kinds(verdict: Verdict) -> set[tuple[str, str | None, str | None]]:
    return {(problem.kind, problem.node_id, problem.input_name) for problem in verdict.problems}


def _without_tracebacks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_tracebacks(item) for key, item in value.items() if key != "traceback"}
    return [_without_tracebacks(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", _CAPTURED["cases"], ids=lambda case: str(case["name"]))
def test_a_real_server_would_answer_the_same(case: dict[str, Any]) -> None:
    graph = case.get("graph", {**_CAPTURED["graph"], **case.get("instead", {})})
    for node_id in case.get("without", ()):
        del graph[node_id]

    verdict = judge(graph, _OLD, V0_3_64)

    assert verdict.status == case["status"]
    if verdict.status == 400:
        said = _without_tracebacks(json.loads(json.dumps(verdict.rejection())))
        assert said == case["reply"]
    assert not verdict.ok


def test_a_good_graph_has_no_problem() -> None:
    for definitions, generation in ((_OLD, V0_3_64), (_NEW, V0_12_1)):
        verdict = judge(a_graph(), definitions, generation)

        assert verdict.ok
        assert verdict.accepted
        assert (verdict.error, verdict.node_errors, verdict.outputs) == (None, {}, ("61",))


def test_the_graph_is_not_changed_and_the_verdict_has_it_converted() -> None:
    graph = a_graph()
    graph["57"]["inputs"] |= {"steps": "4", "cfg": 3}
    before = copy.deepcopy(graph)

    verdict = judge(graph)

    assert graph == before
    assert verdict.graph["57"]["inputs"]["steps"] == 4
    assert isinstance(verdict.graph["57"]["inputs"]["cfg"], float)


def test_newer_servers_speak_of_an_unknown_node_in_other_words() -> None:
    graph = a_graph()
    graph["8"] = {"class_type": "NoSuchNode", "inputs": {}, "_meta": {"title": "Mine"}}

    verdict = judge(graph)

    assert verdict.status == 400
    assert verdict.error == {
        "type": "missing_node_type",
        "message": "Node 'Mine' not found. The custom node may not be installed.",
        "details": "Node ID '#8'",
        "extra_info": {"node_id": "8", "class_type": "NoSuchNode", "node_title": "Mine"},
    }


def test_a_missing_class_type_has_a_form_for_each_generation() -> None:
    graph = {**a_graph(), "8": {"inputs": {}}}

    old, new = judge(graph, _OLD, V0_3_64), judge(graph)

    assert old.error is not None
    assert new.error is not None
    assert (old.error["type"], new.error["type"]) == ("invalid_prompt", "missing_node_type")
    assert ("missing_class_type", "8", None) in kinds(new)


def test_a_workflow_of_the_editor_is_named_as_one() -> None:
    verdict = judge({"nodes": [{"id": 1}], "links": [], "version": 0.4})

    assert verdict.status == 500
    assert [problem.kind for problem in verdict.problems] == ["ui_format"]
    assert "Export (API)" in str(verdict.problems[0])


def test_all_that_is_wrong_is_told_at_once_where_a_server_stops_at_the_first() -> None:
    graph = a_graph()
    graph["8"]["class_type"] = "VAEDecod"
    graph["54"]["class_type"] = "Nonsense"
    graph["59"]["inputs"]["width"] = 1
    del graph["60"]["inputs"]["fps"]

    verdict = judge(graph)

    assert kinds(verdict) >= {
        ("missing_node_type", "8", None),
        ("missing_node_type", "54", None),
        ("required_input_missing", "60", "fps"),
    }
    assert any('Did you mean "VAEDecode"?' in problem.message for problem in verdict.problems)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("37", "unet_name", "tiny_wan22_t2v_high_fp61.safetensors"),
            'did you mean "tiny_wan22_t2v_high_fp16',
        ),
        (("57", "steps", 0), "the smallest is 1"),
        (("57", "cfg", 1e9), "the biggest is 100.0"),
        (("57", "steps", "many"), "cannot be read as INT"),
        (("57", "model", ["54"]), 'a link must be ["node id", output number]'),
        (("57", "model", ["39", 0]), "a MODEL is needed, but node 39, output 0 gives a VAE"),
        (("57", "model", ["999", 0]), "the link leads to node 999, which is not in the graph"),
        (("57", "model", ["54", 3]), "an output that the other node does not have"),
    ],
)
def test_a_problem_says_in_plain_words_what_to_do(change: tuple[str, str, Any], words: str) -> None:
    graph = a_graph()
    node_id, name, value = change
    graph[node_id]["inputs"][name] = value

    (problem,) = judge(graph).problems

    assert words in problem.message
    assert problem.node_id == node_id


def test_a_circle_is_named_with_its_nodes() -> None:
    graph = a_graph()
    graph["54"]["inputs"]["model"] = ["55", 0]
    graph["55"]["inputs"]["model"] = ["54", 0]

    verdict = judge(graph)

    (problem,) = [problem for problem in verdict.problems if problem.kind == "cycle"]
    assert "54 → 55 → 54" in problem.message or "55 → 54 → 55" in problem.message
    assert verdict.node_errors == {}
    assert verdict.error is not None
    assert verdict.error["details"] == ""


def test_one_good_output_and_one_bad_are_partly_accepted_but_not_ok() -> None:
    graph = a_graph()
    graph["62"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}

    verdict = judge(graph)

    assert (verdict.accepted, verdict.ok, verdict.outputs) == (True, False, ("61",))
    assert verdict.node_errors["62"]["dependent_outputs"] == ["62"]
    assert verdict.error is None


def test_only_the_outputs_that_are_asked_for_are_judged() -> None:
    graph = a_graph()
    graph["62"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}

    assert validate(graph, _NEW, targets=["61"]).ok
    assert judge(graph).outputs == ("61",)
    assert validate(graph, _NEW, targets=[]).error is not None


def test_a_choice_that_only_fails_at_run_time_is_a_problem_all_the_same() -> None:
    graph = a_graph()
    graph["61"]["inputs"]["format"] = "webm"

    old, new = judge(graph, _OLD, V0_3_64), judge(graph)

    assert (old.status, new.status) == (200, 400)
    assert kinds(old) == kinds(new) == {("value_not_in_list", "61", "format")}


def test_an_input_image_is_judged_only_when_the_folder_is_known() -> None:
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "start.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }

    assert validate(graph, _NEW).ok
    assert kinds(judge(graph)) == {("custom_validation_failed", "1", "image")}
    assert validate(graph, _NEW, input_file_exists=lambda name: name == "start.png").ok


def test_model_files_are_judged_only_when_they_are_known() -> None:
    graph = a_graph()
    graph["37"]["inputs"]["unet_name"] = "any.safetensors"

    assert validate(graph, shipped_definitions()).ok
    assert not judge(graph).ok


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_a_problem(value: float) -> None:
    graph = a_graph()
    graph["54"]["inputs"]["shift"] = value

    assert not judge(graph).ok


def _chain(length: int) -> Graph:
    graph: Graph = {
        "0": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "end": {"class_type": "PreviewImage", "inputs": {"images": [str(length), 0]}},
    }
    for number in range(1, length + 1):
        inputs = {"image": [str(number - 1), 0], "batch_index": 0, "length": 1}
        graph[str(number)] = {"class_type": "ImageFromBatch", "inputs": inputs}
    return graph


def test_a_long_chain_is_judged_like_any_other() -> None:
    assert judge(_chain(900)).ok


def test_a_chain_that_a_server_cannot_follow_is_a_problem() -> None:
    verdict = judge(_chain(1990))

    assert verdict.status == 400
    (problem,) = verdict.problems
    assert "longer than the server can follow" in problem.message


@pytest.mark.timeout(20)
def test_the_largest_and_worst_graphs_are_judged_in_little_time() -> None:
    ids = [str(number) for number in range(2000)]
    everywhere = {
        node_id: {"class_type": "ImageBatch", "inputs": {"image": [ids[n - 1], 0]}}
        for n, node_id in enumerate(ids)
    }
    circle = {
        node_id: {"class_type": "ImageFromBatch", "inputs": {"image": [ids[n - 1], 0]}}
        for n, node_id in enumerate(ids)
    }
    outputs = {
        node_id: {"class_type": "PreviewImage", "inputs": {"images": [ids[n - 1], 0]}}
        for n, node_id in enumerate(ids)
    }
    names = {node_id: {"class_type": f"KSamplerAdvance{node_id}", "inputs": {}} for node_id in ids}
    began = time.perf_counter()

    for graph in (everywhere, circle, outputs, names):
        verdict = judge(graph)

        assert not verdict.ok
        assert len(verdict.problems) <= 201
    assert time.perf_counter() - began < 15


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
_values = (
    _json | st.sampled_from(["1", "2", "61"]) | st.tuples(st.sampled_from(["1", "2", "3"]), _json).map(list)
)
_classes = (
    st.sampled_from(["KSampler", "SaveVideo", "EmptyImage", "LoadImage", "VAEDecode", "ImageScale"]) | _json
)
_inputs = st.dictionaries(
    st.sampled_from(
        ["video", "images", "image", "samples", "vae", "width", "height", "steps", "cfg", "model"]
    ),
    _values,
)
_nodes = st.fixed_dictionaries({}, optional={"class_type": _classes, "inputs": _inputs | _json}) | _json
_graphs = st.dictionaries(st.sampled_from(["1", "2", "3"]) | st.integers(), _nodes, max_size=5) | _json


@settings(max_examples=300)
@given(graph=_graphs, generation=st.sampled_from(GENERATIONS))
def test_no_graph_makes_it_stumble(graph: Any, generation: Generation) -> None:
    verdict = judge(graph, _OLD if generation is V0_3_64 else _NEW, generation)

    assert verdict.ok <= verdict.accepted
    assert (verdict.status == 400) is (verdict.error is not None)
    if not verdict.accepted:
        assert verdict.problems


@pytest.mark.parametrize(
    ("received", "wanted", "fits"),
    [
        ("MODEL", "MODEL", True),
        ("MODEL", "VAE", False),
        ("*", "VAE", True),
        ("INT", "*", True),
        ("INT", "FLOAT,INT", True),
        ("INT,STRING", "FLOAT, STRING", True),
        ("STRING", "FLOAT,INT", False),
    ],
)
def test_types_fit_when_they_have_one_in_common(received: str, wanted: str, *, fits: bool) -> None:
    assert types_fit(received, wanted) is fits
