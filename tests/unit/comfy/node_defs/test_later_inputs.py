from __future__ import annotations

from typing import Any

from comfy.generations import NEWEST, Generation
from comfy.judging.validation import validate
from comfy.node_defs.definitions import Section, parse_node, shipped_definitions
from comfy.node_defs.later_inputs import later_inputs, with_later_inputs

_NEW = shipped_definitions(NEWEST)
_OLD = shipped_definitions(Generation.named("0.12.1"))


def an_old_node(class_type: str) -> dict[str, Any]:
    """The inputs of a node as 0.12.1 requires them, with its defaults."""
    return {
        each.name: ["1", 0] if each.default is None else each.default
        for each in _OLD[class_type].of(Section.REQUIRED)
    }


def test_what_a_node_came_to_require_is_filled_in_with_its_default() -> None:
    given = an_old_node("WanContextWindowsManual")

    assert later_inputs(_NEW["WanContextWindowsManual"], given) == {
        "retain_first_frame": False,
        "split_conds_to_windows": False,
    }
    assert later_inputs(_OLD["WanContextWindowsManual"], given) == {}


def test_what_an_option_came_to_require_is_filled_in_by_its_dotted_name() -> None:
    given = {
        "video": ["1", 0],
        "filename_prefix": "x",
        "format": "mp4",
        "codec": "h264",
        "codec.encoding": "re-encode",
        "codec.encoding.crf": 28,
    }

    assert later_inputs(_NEW["SaveVideo"], given) == {"codec.encoding.color_space": "auto"}


def test_an_input_that_was_always_required_is_missing_for_good() -> None:
    given = an_old_node("WanContextWindowsManual")
    del given["context_length"]

    assert "context_length" not in later_inputs(_NEW["WanContextWindowsManual"], given)


def test_a_class_that_no_generation_knows_is_left_alone() -> None:
    node = parse_node("Mine", {"input": {"required": {"steps": ["INT", {"default": 4}]}}, "output": []})

    assert later_inputs(node, {}) == {}


def test_a_graph_of_an_older_server_is_taken_once_it_is_filled_in() -> None:
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "x", "weight_dtype": "default"}},
        "2": {"class_type": "ContextWindowsManual", "inputs": an_old_node("ContextWindowsManual")},
    }

    def missing(graph: Any) -> set[str | None]:
        problems = validate(graph, _NEW).problems
        return {each.input_name for each in problems if each.kind == "required_input_missing"}

    assert missing(graph) >= {"causal_window_fix", "split_conds_to_windows"}
    assert missing(with_later_inputs(graph, _NEW)) == set()
