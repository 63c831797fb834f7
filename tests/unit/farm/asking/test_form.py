"""The fields of a graph's form: what may be set, with the values that stand there."""

from __future__ import annotations

import json

import pytest

from comfy.wan.templates import get_template
from farm.asking.form import form_of_graph


def values_with(cfg: object) -> list[object]:
    """What the form of a graph shows for `cfg`, where the graph has it so."""
    graph = get_template("wan22-t2v-a14b").build(prompt="a fox").graph
    for node in graph.values():
        if "cfg" in node["inputs"]:
            node["inputs"]["cfg"] = cfg
    return [each.value for each in form_of_graph(graph) if each.parameter.name.endswith("cfg")]


def test_a_number_that_stands_as_text_is_shown_as_the_number_that_comfyui_takes_it_for() -> None:
    assert set(values_with("3.5")) == {3.5}


@pytest.mark.parametrize("text", ["NaN", "-nan", "Infinity", "-inf", "1e999", "three"])
def test_what_is_no_number_to_reckon_with_is_shown_as_it_stands(text: str) -> None:
    values = values_with(text)

    assert set(values) == {text}
    json.dumps(values, allow_nan=False)
