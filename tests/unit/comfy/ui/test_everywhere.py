from __future__ import annotations

from typing import Any

import pytest

from comfy.errors import GraphError
from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.convert import convert
from tests.unit.comfy.ui.workflows import Sheet

_KNOWN = shipped_definitions()


def a_sheet(sender: str = "Anything Everywhere", *values: Any, **properties: Any) -> Sheet:
    """A text encoder that is linked to a sender, and two encodes of prompts that are linked to nothing."""
    sheet = Sheet()
    sheet.node(1, "CLIPLoader", "umt5.safetensors", "wan", "default", outputs=("CLIP",))
    sheet.node(2, sender, *values, inputs=("anything:*",), properties=properties)
    for number, title in ((3, "Positive"), (4, "Negative")):
        sheet.node(
            number, "CLIPTextEncode", "a fox",
            inputs=("clip:CLIP", "text:STRING:w"), outputs=("CONDITIONING",), title=title,
        )  # fmt: skip
    sheet.link(1, 0, 2, 0)
    return sheet


def taken(sheet: Sheet, **extra: Any) -> dict[str, Any]:
    graph = convert(sheet.saved(**extra), _KNOWN).graph
    return {node_id: node["inputs"].get("clip") for node_id, node in graph.items() if node_id in ("3", "4")}


@pytest.mark.parametrize("sender", ["Anything Everywhere", "Anything Everywhere3", "Anything Everywhere?"])
def test_a_value_goes_to_every_input_of_its_type(sender: str) -> None:
    assert taken(a_sheet(sender)) == {"3": ["1", 0], "4": ["1", 0]}


def test_the_sender_itself_does_not_run() -> None:
    assert set(convert(a_sheet().saved(), _KNOWN).graph) == {"1", "3", "4"}


@pytest.mark.parametrize(
    "rule",
    [
        a_sheet("Anything Everywhere?", "Pos", ".*", ".*"),
        a_sheet(ue_properties={"version": "7.0", "title_regex": "Pos"}),
        a_sheet(ue_properties={"version": "7.0", "title_regex": "Neg", "title_regex_invert": True}),
    ],
)
def test_a_title_may_narrow_to_whom_it_goes(rule: Sheet) -> None:
    assert taken(rule) == {"3": ["1", 0], "4": None}


def test_a_muted_sender_sends_nothing() -> None:
    sheet = a_sheet()
    sheet.nodes[1]["mode"] = 2

    assert taken(sheet) == {"3": None, "4": None}


def test_a_node_may_refuse_what_is_sent() -> None:
    sheet = a_sheet()
    sheet.nodes[3]["properties"] = {"rejects_ue_links": True}

    assert taken(sheet) == {"3": ["1", 0], "4": None}


def test_of_two_senders_the_more_exact_one_counts() -> None:
    sheet = a_sheet()
    sheet.node(5, "CLIPLoader", "other.safetensors", "wan", "default", outputs=("CLIP",))
    sheet.node(
        6, "Anything Everywhere", inputs=("anything:*",),
        properties={"ue_properties": {"version": "7.0", "title_regex": "Neg"}},
    )  # fmt: skip
    sheet.link(5, 0, 6, 0)

    assert taken(sheet) == {"3": ["1", 0], "4": ["5", 0]}


def test_of_two_equal_senders_none_counts() -> None:
    sheet = a_sheet()
    sheet.node(5, "CLIPLoader", "other.safetensors", "wan", "default", outputs=("CLIP",))
    sheet.node(6, "Anything Everywhere", inputs=("anything:*",))
    sheet.link(5, 0, 6, 0)

    assert taken(sheet) == {"3": None, "4": None}


def test_prompts_go_where_their_names_say() -> None:
    sheet = a_sheet()
    sheet.node(7, "Prompts Everywhere", inputs=("+ve:CONDITIONING", "-ve:CONDITIONING"), properties={})
    sheet.node(
        8, "WanImageToVideo", 832, 480, 81, 1,
        inputs=("positive:CONDITIONING", "negative:CONDITIONING", "vae:VAE"), outputs=("CONDITIONING",),
    )  # fmt: skip
    sheet.link(3, 0, 7, 0)
    sheet.link(4, 0, 7, 1)

    inputs = convert(sheet.saved(), _KNOWN).graph["8"]["inputs"]

    assert (inputs["positive"], inputs["negative"]) == (["3", 0], ["4", 0])


_BY_GROUP = {"version": "7.0", "group_restricted": 1}


def test_links_that_depend_on_the_sheet_are_those_that_the_file_notes() -> None:
    link = {"upstream": "1", "upstream_slot": 0, "downstream": 4, "downstream_slot": 0, "type": "CLIP"}

    assert taken(a_sheet(ue_properties=_BY_GROUP), ue_links=[link]) == {"3": None, "4": ["1", 0]}


@pytest.mark.parametrize(
    "rules",
    [_BY_GROUP, {"version": "7.0", "title_regex": "(a+)+$"}, {"version": "7.0", "input_regex": "a*" * 9}],
)
def test_rules_that_are_not_for_us_are_refused_where_the_file_notes_no_links(rules: dict[str, Any]) -> None:
    with pytest.raises(GraphError) as caught:
        taken(a_sheet(ue_properties=rules))

    assert caught.value.problems[0].node_id == "2"
