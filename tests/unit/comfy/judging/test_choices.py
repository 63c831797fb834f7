from __future__ import annotations

from typing import Any

import pytest

from comfy.generations import NEWEST
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions

_KNOWN = shipped_definitions(NEWEST)


def judged(**save: Any) -> list[tuple[str, str | None]]:
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        },
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
        "3": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0], "filename_prefix": "x", **save}},
    }
    verdict = validate(graph, _KNOWN)
    assert verdict.status == 200
    return [(each.kind, each.input_name) for each in verdict.problems]


@pytest.mark.parametrize(
    "save",
    [
        {"format": "auto", "codec": "auto"},
        {"format": "mp4"},
        {"format": "mkv", "format.codec": "av1"},
        {"format": "webm", "format.codec": "av1"},
        {"format": "webm", "codec": "av1"},
    ],
)
def test_choices_that_a_list_has_are_no_problem(save: dict[str, Any]) -> None:
    assert judged(**save) == []


@pytest.mark.parametrize(
    ("save", "problem"),
    [
        ({"format": "avi", "codec": "auto"}, ("value_not_in_list", "format")),
        ({"format": 5, "codec": "auto"}, ("value_not_in_list", "format")),
        ({"format": {"a": 1}}, ("value_not_in_list", "format")),
        ({"format": None}, ("value_not_in_list", "format")),
        ({"codec": "auto"}, ("required_input_missing", "format")),
        ({"format": "mp4", "format.codec": "xyz"}, ("value_not_in_list", "format.codec")),
        ({"format": "webm", "codec": "h264"}, ("value_not_in_list", "codec")),
        ({"format": "webm", "format.codec": "h264"}, ("value_not_in_list", "format.codec")),
        ({"format": ["1", 0], "codec": "auto"}, ("return_type_mismatch", "format")),
        ({"format": ["99", 0], "codec": "auto"}, ("exception_during_inner_validation", "format")),
        ({"format": ["1"], "codec": "auto"}, ("bad_linked_input", "format")),
    ],
)
def test_a_choice_that_fails_only_at_run_time_is_a_problem_at_once(
    save: dict[str, Any], problem: tuple[str, str]
) -> None:
    assert judged(**save) == [problem]


def test_the_sentence_names_the_choices() -> None:
    graph = {"3": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0], "format": "avi"}}}

    sentences = [str(each) for each in validate(graph, _KNOWN).problems]

    assert any('"avi" is not one of the choices: auto, mp4, mkv, webm' in each for each in sentences)


def test_a_name_that_a_growing_group_does_not_have_is_a_problem() -> None:
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        },
        "2": {
            "class_type": "BatchImagesNode",
            "inputs": {"images.image0": ["1", 0], "images.image1": ["1", 0], "images.image77": ["1", 0]},
        },
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }

    (problem,) = validate(graph, _KNOWN).problems

    assert (problem.kind, problem.input_name) == ("unknown_input", "images.image77")
    assert "images.image0 to images.image49" in problem.message
