from __future__ import annotations

from typing import Any

from comfy.judging.validation import validate
from comfy.node_defs.definitions import NodeDef, Section, parse_node, shipped_definitions
from comfy.node_defs.dynamic_inputs import inputs_for

_GROW: dict[str, Any] = {
    "template": {"input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 2, "max": 3}
}


def a_node(**required: Any) -> NodeDef:
    return parse_node("Node", {"input": {"required": required}, "output": []})


def names(node: NodeDef, **given: Any) -> list[str]:
    return [each.name for each in inputs_for(node, given)]


def test_a_plain_node_has_the_inputs_of_its_definition() -> None:
    node = a_node(steps=["INT", {}])

    assert inputs_for(node, {}) is node.inputs


def test_a_chosen_option_brings_its_inputs_under_the_name_of_the_choice() -> None:
    inner = [
        "COMFY_DYNAMICCOMBO_V3",
        {"options": [{"key": "re-encode", "inputs": {"required": {"crf": ["INT"]}}}]},
    ]
    codec = {
        "options": [
            {"key": "auto", "inputs": {}},
            {"key": "h264", "inputs": {"required": {"encoding": inner}}},
        ]
    }
    node = a_node(codec=["COMFY_DYNAMICCOMBO_V3", codec], fps=["FLOAT"])

    assert names(node, codec="auto") == ["codec", "fps"]
    assert names(node, codec="h264", **{"codec.encoding": "re-encode"}) == [
        "codec.encoding.crf",
        "codec.encoding",
        "codec",
        "fps",
    ]


def test_an_unknown_or_missing_choice_brings_nothing() -> None:
    node = a_node(codec=["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "auto", "inputs": {}}]}])

    assert names(node) == []
    assert names(node, codec="av1") == []
    assert names(node, codec=["3", 0]) == []


def test_a_group_grows_to_its_limit_and_needs_its_least() -> None:
    found = inputs_for(a_node(images=["COMFY_AUTOGROW_V3", _GROW]), {})

    assert [(each.name, each.section, each.kind) for each in found] == [
        ("images.image0", Section.REQUIRED, "IMAGE"),
        ("images.image1", Section.REQUIRED, "IMAGE"),
        ("images.image2", Section.OPTIONAL, "IMAGE"),
    ]


def test_careless_definitions_bring_nothing() -> None:
    node = a_node(
        a=["COMFY_AUTOGROW_V3"],
        b=["COMFY_AUTOGROW_V3", {"template": 3}],
        c=["COMFY_AUTOGROW_V3", {"template": {"max": "x", "input": 5}}],
        d=["COMFY_DYNAMICCOMBO_V3", {"options": "x"}],
        e=["COMFY_DYNAMICCOMBO_V3", {"options": [4, {"key": "k", "inputs": 4}]}],
    )

    assert names(node, d="x", e="k") == ["e"]


def test_a_growing_group_is_checked_like_any_input() -> None:
    graph = {
        "1": {"class_type": "PrimitiveInt", "inputs": {"value": 81}},
        "2": {"class_type": "ComfyMathExpression", "inputs": {"expression": "a*2", "values.a": ["1", 0]}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
    }
    missing = {**graph, "4": {"class_type": "BatchImagesNode", "inputs": {}}}
    missing["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}

    assert validate(graph, shipped_definitions()).ok
    problems = validate(missing, shipped_definitions()).problems
    assert {problem.input_name for problem in problems} == {"images.image0"}


def test_an_output_that_matches_its_input_fits_everywhere() -> None:
    graph = {
        "1": {"class_type": "PrimitiveBoolean", "inputs": {"value": True}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "3": {
            "class_type": "ComfySwitchNode",
            "inputs": {"switch": ["1", 0], "on_false": ["2", 0], "on_true": ["2", 0]},
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }

    assert validate(graph, shipped_definitions()).ok
