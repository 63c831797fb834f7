from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from comfy.errors import GraphProblem
from comfy.protocol.rejection import read_rejection

Capture = Callable[[str], dict[str, Any]]
ANY = {"1": {"class_type": "A", "inputs": {}}}


def rejection(capture: Capture, name: str, graph: dict[str, Any] | None = None) -> Any:
    told = capture("rejections")[name]
    return read_rejection(told["status"], told["reply"], graph or ANY)


@pytest.mark.parametrize(
    ("name", "node_id", "input_name", "words"),
    [
        ("model_file_not_in_list", "37", "unet_name", "models/diffusion_models"),
        ("missing_required_input", "57", "steps", "missing"),
        ("value_smaller_than_min", "59", "width", "smallest"),
        ("value_bigger_than_max", "57", "cfg", "biggest"),
        ("load_image_missing_file", "1", "image", "no_such.png"),
        ("link_wrong_type", "57", "model", "MODEL"),
        ("one_good_output_one_bad", "2", "tick", "missing"),
        ("unknown_node_type", "8", None, "NoSuchNode"),
        ("missing_class_type", "8", None, "class_type"),
    ],
)
def test_a_rejection_names_the_node_and_the_input(
    capture: Capture, name: str, node_id: str, input_name: str | None, words: str
) -> None:
    problem = rejection(capture, name).problems[0]

    assert problem.node_id == node_id
    if input_name is not None:
        assert problem.input_name is not None
    assert words in str(problem)


def test_each_missing_model_is_named_with_what_there_is_instead(capture: Capture) -> None:
    problems = rejection(capture, "two_models_not_in_list").problems

    assert {problem.input_name for problem in problems} == {"vae_name", "unet_name"}
    assert all("there are: tiny_wan2" in problem.message for problem in problems)
    assert {problem.kind for problem in problems} == {"missing_model"}


def test_a_model_file_in_an_input_that_nobody_knows_is_missing_too_and_a_mistyped_choice_is_not() -> None:
    def problem(value: str) -> GraphProblem:
        extra = {"input_name": "vace_model", "received_value": value, "input_config": [["none"], {}]}
        reason = {"type": "value_not_in_list", "message": "Value not in list", "extra_info": extra}
        body = {"node_errors": {"4": {"class_type": "SomeLoader", "errors": [reason]}}}
        return read_rejection(400, body, ANY).problems[0]

    assert problem("wan/vace.safetensors").kind == "missing_model"
    assert problem("euler_ancestrel").kind == "value_not_in_list"


def test_a_cycle_is_named_although_the_server_does_not(capture: Capture) -> None:
    graph = {
        "1": {"class_type": "A", "inputs": {"x": ["2", 0]}},
        "2": {"class_type": "B", "inputs": {"x": ["1", 0]}},
    }

    problem = rejection(capture, "cycle", graph).problems[0]

    assert problem.kind == "cycle"
    assert "1" in problem.message


def test_the_form_of_newer_servers_for_an_unknown_node() -> None:
    body = {
        "error": {
            "type": "missing_node_type",
            "message": "Node 'NoSuchNode' not found. The custom node may not be installed.",
            "details": "Node ID '#8'",
            "extra_info": {"node_id": "8", "class_type": "NoSuchNode", "node_title": "x"},
        },
        "node_errors": {},
    }

    (problem,) = read_rejection(400, body, ANY).problems

    assert (problem.kind, problem.node_id, problem.class_type) == ("missing_node_type", "8", "NoSuchNode")


@pytest.mark.parametrize("name", ["no_output_node", "empty_prompt", "no_prompt_key"])
def test_a_graph_that_shows_nothing_is_told_so(capture: Capture, name: str) -> None:
    assert rejection(capture, name).problems[0].message


@pytest.mark.parametrize(
    "body", [None, "text", {}, {"error": None}, {"node_errors": {"1": None}}, {"node_errors": []}]
)
def test_an_answer_of_another_form_still_gives_a_reason(body: Any) -> None:
    rejected = read_rejection(400, body, ANY)

    assert len(rejected.problems) == 1
    assert rejected.status == 400
