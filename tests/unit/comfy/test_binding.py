"""A graph's values are set by what they mean, at the input where they are really set."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.errors import GraphError
from comfy.graphs.graph import set_inputs
from comfy.wan.binding import Bindings, Resolved, input_paths_of, resolve
from comfy.wan.roles import find_roles
from comfy.wan.templates import get_template
from tests.support.wan_graphs import Graph, a14b_by_switches, custom_sampling, node, wrapper_i2v


def resolved(graph: Graph, bind: Bindings | None = None, **given: Any) -> Resolved:
    return resolve(graph, find_roles(graph), given, bind or {})


def fault(graph: Graph, bind: Bindings | None = None, **given: Any) -> str:
    with pytest.raises(GraphError) as caught:
        resolved(graph, bind, **given)
    return str(caught.value)


def t2v() -> Graph:
    return get_template("wan22-t2v-a14b").build(prompt="a fox", seed=1).graph


def test_roles_of_a_plain_graph_are_set_by_name() -> None:
    found = resolved(t2v(), prompt="a crow", seed="9", width=1280, height=720, frames=49, fps=24)

    assert found.values == {
        "6.text": "a crow",
        "57.noise_seed": 9,
        "59.width": 1280,
        "59.height": 720,
        "59.length": 49,
        "60.fps": 24.0,
    }


def test_all_stages_get_the_steps_and_hand_over_in_proportion() -> None:
    assert resolved(t2v(), steps=8).values == {
        "57.steps": 8,
        "58.steps": 8,
        "57.end_at_step": 4,
        "58.start_at_step": 4,
    }


def test_a_shared_source_is_set_once() -> None:
    assert resolved(wrapper_i2v(), width=640, steps=6).values == {
        "80.value": 640,
        "85.value": 6,
        "84.value": 3,
    }


def test_a_source_that_serves_something_else_too_is_left_and_the_link_is_cut() -> None:
    graph = a14b_by_switches()

    # The frame rate is also a factor of the clip's length.
    assert resolved(graph, fps=24).values == {"94.fps": 24.0}
    changed = set_inputs(graph, resolved(graph, fps=24).values)
    assert find_roles(changed).value("fps") == 24.0
    assert find_roles(changed).value("frames") == 81


def test_the_branch_that_a_switch_takes_is_the_one_that_is_set() -> None:
    assert resolved(a14b_by_switches(few_steps=True), cfg=2).values == {"122.value": 2.0}
    assert resolved(a14b_by_switches(few_steps=False), steps=30).values == {"128.value": 30, "127.value": 15}


def test_a_file_for_a_role_goes_to_the_node_that_loads_it() -> None:
    found = resolved(wrapper_i2v(), image="mine.png")

    assert found == Resolved(values={}, files={"58.image": "mine.png"})
    assert resolved(wrapper_i2v(), start_image=b"bytes").files == {"58.image": b"bytes"}


def test_names_of_ones_own_win_over_roles() -> None:
    bind = {"mood": "6.text", "seed": ["57.noise_seed", "58.noise_seed"], "photo": "62.image"}
    graph = t2v() | {"62": node("LoadImage", image="x.png")}

    found = resolved(graph, bind, mood="grim", seed=5, photo="y.png")

    assert found.values == {"6.text": "grim", "57.noise_seed": 5, "58.noise_seed": 5}
    assert found.files == {"62.image": "y.png"}


def test_a_size_is_snapped_only_when_that_is_asked() -> None:
    assert resolved(t2v(), width=833, frames=80, snap=True).values == {"59.width": 832, "59.length": 81}
    assert "832 or 848" in fault(t2v(), width=833)
    assert "77 or 81" in fault(t2v(), frames=80, snap=False)
    assert "neither true nor false" in fault(t2v(), snap="perhaps")


def test_the_5b_model_wants_multiples_of_32() -> None:
    graph = get_template("wan22-ti2v-5b").build(prompt="x").graph

    assert "704 or 736" in fault(graph, height=720)


@pytest.mark.parametrize(
    ("graph", "given", "words"),
    [
        (t2v(), {"mood": "grim"}, "it has: prompt (6.text), negative (7.text), seed (57.noise_seed)"),
        (a14b_by_switches(), {"frames": 49}, "computed at 98.length by node 163 (ComfyMathExpression)"),
        (a14b_by_switches(), {"frames": 49}, "set what it is given: 163.expression, 161.value, 162.value"),
        (custom_sampling(), {"negative": "x"}, "no role of this graph"),
        (t2v(), {"prompt": 5}, "5 is no text"),
        (t2v(), {"seed": -1}, "between 0 and"),
        (t2v(), {"99.text": "x"}, "there is no node 99"),
        (wrapper_i2v(), {"image": 7}, "no file"),
    ],
)
def test_what_cannot_be_set_is_named_with_what_can(graph: Graph, given: dict[str, Any], words: str) -> None:
    assert words in fault(graph, **given)


def test_a_role_with_several_values_is_ambiguous_and_lists_them() -> None:
    graph = t2v()
    graph["57"]["inputs"]["cfg"] = 4.0

    message = fault(graph, cfg=2)

    assert "57.cfg = 4.0, 58.cfg = 3.5" in message


def test_a_binding_to_nothing_is_named() -> None:
    assert "bound to 6.txt: there is no such input" in fault(t2v(), {"prompt": "6.txt"}, prompt="x")


def test_every_problem_is_told_at_once() -> None:
    message = fault(t2v(), mood=1, frames=80)

    assert "parameter mood" in message
    assert "parameter frames" in message


def test_an_alias_is_the_role_itself() -> None:
    graph = t2v()

    assert input_paths_of(graph, find_roles(graph), "length", {}) == ("59.length",)
    assert resolved(graph, negative_prompt="x").values == {"7.text": "x"}
