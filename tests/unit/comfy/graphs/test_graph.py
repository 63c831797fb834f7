from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy.errors import GraphError
from comfy.graphs.graph import (
    ancestors,
    canonical_json,
    check_graph,
    find_cycle,
    graph_sha256,
    literal,
    load_graph,
    nodes_of_class,
    set_input,
    set_inputs,
)
from comfy.graphs.required import input_files, model_files, node_classes, output_nodes

Capture = Callable[[str], dict[str, Any]]


def a_node(class_type: str = "Any", /, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def problem_of(source: Any) -> Any:
    with pytest.raises(GraphError) as caught:
        load_graph(source)
    return caught.value.problems[0]


def test_a_real_graph_is_read_from_text_bytes_and_mapping_alike(capture: Capture) -> None:
    graph = capture("wan22_t2v_savevideo")["graph"]

    assert load_graph(json.dumps(graph)) == graph
    assert load_graph(b"\xef\xbb\xbf" + json.dumps(graph).encode()) == graph
    assert load_graph({"prompt": graph, "client_id": "x"}) == graph


def test_what_is_loaded_shares_nothing_with_its_source() -> None:
    source = {"1": a_node(size=[640, 480], link=("2", 0)), "2": a_node()}

    graph = load_graph(source)
    graph["1"]["inputs"]["size"].append(3)

    assert source["1"]["inputs"]["size"] == [640, 480]
    assert graph["1"]["inputs"]["link"] == ["2", 0]


def test_a_node_may_be_called_prompt() -> None:
    graph = {"prompt": a_node("SaveVideo")}

    assert load_graph(graph) == graph


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("{not json", "not_json", "line 1, column 2"),
        (b"\xff\xfe\x00", "not_json", "UTF-8"),
        ("[" * 100_000, "too_deep", "nested"),
        ('{"1": {"class_type": "A", "inputs": {"x": NaN}}}', "not_a_number", "nan"),
        ('{"1": {"class_type": "A", "inputs": {"x": -Infinity}}}', "not_a_number", "-inf"),
        ('{"1": {"class_type": "A", "inputs": {"x": 1e999}}}', "not_a_number", "inf"),
        ("[]", "not_a_graph", "list"),
        ('"text"', "not_a_graph", "a text"),
        ("{}", "empty_graph", "no nodes"),
        ({"prompt": {}}, "empty_graph", "no nodes"),
        ({"nodes": [], "links": [], "version": 0.4}, "ui_format", "Export (API)"),
        ({"1": "a text"}, "node_not_object", "a text"),
        ({"1": {"inputs": {}}}, "missing_class_type", "class_type"),
        ({"1": {"class_type": 5, "inputs": {}}}, "missing_class_type", "class_type"),
        ({"1": {"class_type": "A"}}, "missing_inputs", "inputs"),
        ({1: a_node()}, "id_not_text", "1"),
        ({"1": a_node(text="a\0b")}, "nul_in_text", "NUL"),
        ({"1": a_node(text="\ud800")}, "broken_text", "surrogate"),
        ({"1": a_node(x=object())}, "not_json", "object"),
        ({"1": a_node(x={2: 3})}, "key_not_text", "2"),
        ({"1": a_node(x=["9", 0])}, "link_to_missing_node", "node 9"),
        ({"1": a_node(x=[2, 0]), "2": a_node()}, "bad_linked_input", "this is [2, 0]"),
        ({"1": a_node(x=["2", 0, 0]), "2": a_node()}, "bad_linked_input", "this is ['2', 0, 0]"),
        ({"1": a_node(x=["2", -1]), "2": a_node()}, "bad_linked_input", "-1"),
        ({"1": a_node(x=["1", 0])}, "cycle", "1 → 1"),
        ({str(n): a_node() for n in range(2001)}, "too_many_nodes", "2001"),
        (json.dumps({"1": a_node(x="y" * 4_194_304)}), "too_large", "4 MiB"),
        ({"1": a_node(x="y" * 4_194_304)}, "too_large", "4 MiB"),
    ],
)
def test_a_bad_graph_is_refused_with_words_that_help(source: Any, kind: str, words: str) -> None:
    problem = problem_of(source)

    assert problem.kind == kind
    assert words in str(problem)


def test_a_broken_link_names_node_class_and_input() -> None:
    problem = problem_of({"57": a_node("KSamplerAdvanced", model=["999", 0])})

    assert (problem.node_id, problem.class_type, problem.input_name) == ("57", "KSamplerAdvanced", "model")


def test_every_broken_node_is_named_at_once() -> None:
    with pytest.raises(GraphError) as caught:
        load_graph({"1": a_node(x=["8", 0]), "2": a_node(y=["9", 0])})

    assert [problem.node_id for problem in caught.value.problems] == ["1", "2"]


def test_a_cycle_is_named_in_the_direction_of_the_data() -> None:
    graph = {
        "a": a_node(x=["c", 0]),
        "b": a_node(x=["a", 0]),
        "c": a_node(x=["b", 0]),
        "d": a_node(x=["c", 0]),
    }

    cycle = find_cycle(graph)

    assert sorted(cycle) == ["a", "b", "c"]
    for source, target in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        assert graph[target]["inputs"]["x"] == [source, 0]


def test_a_chain_of_two_thousand_nodes_is_no_cycle_and_no_recursion_error() -> None:
    graph = {str(n): a_node(x=[str(n - 1), 0]) if n else a_node() for n in range(2000)}

    check_graph(graph)

    assert len(ancestors(graph, ["1999"])) == 2000


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3), min_size=1, max_size=8
    )
)
def test_a_cycle_is_found_exactly_when_a_node_draws_on_itself(edges: dict[str, list[str]]) -> None:
    graph: dict[str, Any] = {
        node: {
            "class_type": "Any",
            "inputs": {f"in{i}": [source, 0] for i, source in enumerate(sources) if source in edges},
        }
        for node, sources in edges.items()
    }

    draws_on_itself = any(
        node in ancestors(graph, [link[0] for link in graph[node]["inputs"].values()]) for node in graph
    )

    assert bool(find_cycle(graph)) is draws_on_itself


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=8)
)
def test_no_value_of_an_input_breaks_the_reader(value: Any) -> None:
    try:
        graph = load_graph({"1": a_node(x=value)})
    except GraphError:
        return
    assert load_graph(canonical_json(graph)) == graph


def test_setting_an_input_leaves_the_graph_alone() -> None:
    graph = {"6": a_node("CLIPTextEncode", text="a cat")}

    changed = set_input(graph, "6.text", "a dog")

    assert graph["6"]["inputs"]["text"] == "a cat"
    assert changed["6"]["inputs"]["text"] == "a dog"


def test_an_input_whose_name_has_dots_can_be_set() -> None:
    graph = {"61": a_node("SaveVideo", **{"codec.encoding.crf": 19}), "61.codec": a_node(x=1)}

    assert set_input(graph, "61.codec.encoding.crf", 23)["61"]["inputs"]["codec.encoding.crf"] == 23
    assert set_input(graph, "61.codec.x", 2)["61.codec"]["inputs"]["x"] == 2


@pytest.mark.parametrize(
    ("input_path", "kind", "words"),
    [
        ("7.text", "unknown_node", "6 (CLIPTextEncode)"),
        ("6.txt", "unknown_input", "text"),
        ("text", "unknown_input", "6.text"),
    ],
)
def test_an_unknown_input_path_names_what_there_is(input_path: str, kind: str, words: str) -> None:
    graph = {"6": a_node("CLIPTextEncode", text="a cat", clip=["38", 0])}

    with pytest.raises(GraphError) as caught:
        set_input(graph, input_path, "a dog")

    assert caught.value.problems[0].kind == kind
    assert words in str(caught.value)


def test_all_wrong_input_paths_are_named_at_once() -> None:
    with pytest.raises(GraphError) as caught:
        set_inputs({"6": a_node(text="x")}, {"6.txt": 1, "7.text": 2, "6.text": float("nan")})

    kinds = {problem.kind for problem in caught.value.problems}
    assert kinds == {"unknown_input", "unknown_node", "not_a_number"}


def test_a_value_is_found_behind_links_to_nodes_that_hold_it() -> None:
    graph = {
        "1": a_node("KSampler", steps=["2", 0], cfg=["4", 0]),
        "2": a_node("Reroute", **{"": ["3", 0]}),
        "3": a_node("PrimitiveInt", value=20),
        "4": a_node("CreateCFGScheduleFloatList", start=3.5),
    }

    assert literal(graph, "1", "steps") == 20
    assert literal(graph, "1", "cfg") is None  # computed: nobody knows without running it
    assert literal(graph, "1", "absent") is None


def test_equal_graphs_have_equal_hashes_whatever_the_order() -> None:
    one = {"1": {"class_type": "A", "inputs": {"x": 1, "y": "ü"}}, "2": a_node()}
    other = {"2": a_node(), "1": {"inputs": {"y": "ü", "x": 1}, "class_type": "A"}}

    assert graph_sha256(one) == graph_sha256(other)
    assert graph_sha256(one) != graph_sha256({**one, "3": a_node()})


def test_the_needs_of_a_real_graph_are_listed(capture: Capture) -> None:
    graph = capture("wan22_t2v_savevideo")["graph"]

    assert {(file.folder, file.name) for file in model_files(graph)} == {
        ("diffusion_models", "tiny_wan22_t2v_high_tiny_fp16.safetensors"),
        ("diffusion_models", "tiny_wan22_t2v_low_tiny_fp16.safetensors"),
        ("text_encoders", "tiny_umt5_xxl_tiny.safetensors"),
        ("vae", "tiny_wan21_vae_tiny.safetensors"),
    }
    assert output_nodes(graph) == ["61"]
    assert "KSamplerAdvanced" in node_classes(graph)
    assert nodes_of_class(graph, "UNETLoader") == ["37", "56"]


def test_a_loader_that_feeds_no_output_needs_no_file() -> None:
    graph = {
        "1": a_node("UNETLoader", unet_name="unused.safetensors"),
        "2": a_node("VAELoader", vae_name="pixel_space"),
        "3": a_node("CLIPVisionLoader", clip_name=["4", 0]),
        "4": a_node("PrimitiveString", value="clip_vision_h.safetensors"),
        "5": a_node("LoadImage", image="start.png"),
        "9": a_node("SaveVideo", a=["2", 0], b=["3", 0], c=["5", 0]),
    }

    assert [(file.folder, file.name) for file in model_files(graph)] == [
        ("clip_vision", "clip_vision_h.safetensors")
    ]
    assert [file.name for file in input_files(graph)] == ["start.png"]


def test_a_multigpu_loader_names_its_model_like_the_one_it_wraps() -> None:
    graph = {"1": a_node("UNETLoaderDisTorch2MultiGPU", unet_name="x.gguf", device="cuda:0")}

    assert [file.folder for file in model_files(graph)] == ["diffusion_models"]


def test_two_nodes_under_one_id_are_refused_and_other_keys_that_stand_twice_are_not() -> None:
    node = '{"class_type": "SaveImage", "inputs": {"filename_prefix": "a", "filename_prefix": "b"}}'

    assert load_graph(f'{{"1": {node}}}')["1"]["inputs"] == {"filename_prefix": "b"}
    with pytest.raises(GraphError, match="two nodes have this id"):
        load_graph(f'{{"1": {node}, "1": {node}}}')


@pytest.mark.parametrize(("text", "what"), [("null", "null"), ("[]", "a list"), ("7", "a number")])
def test_what_is_no_object_is_named_as_json_does(text: str, what: str) -> None:
    with pytest.raises(GraphError, match=f"this is {what};"):
        load_graph(text)
