"""Files of people that once failed, each for a kind, with what is right (`tests/data/cases`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy.graphs.graph import Graph, Loaded
from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.load import load_any
from comfy.wan.roles import Roles, find_roles

_FOLDER = Path(__file__).parents[2] / "data" / "cases"


def loaded(name: str) -> Loaded:
    return load_any((_FOLDER / f"{name}.json").read_bytes(), shipped_definitions)


def graph_of(name: str) -> Graph:
    return loaded(name).graph


def roles_of(name: str) -> Roles:
    return find_roles(graph_of(name), shipped_definitions())


def size_of(name: str) -> tuple[Any, Any, Any]:
    roles = roles_of(name)
    return roles.value("width"), roles.value("height"), roles.value("frames")


def test_r01_values_of_the_editor_stand_in_the_order_of_the_widgets() -> None:
    assert graph_of("r01_ui_on_live_farm")["1"]["inputs"] == {
        "width": 512, "height": 288, "batch_size": 16, "color": 200,
    }  # fmt: skip


def test_r02_what_the_editors_cast_takes_is_taken_and_said() -> None:
    found = loaded("r02_ui_empty_string_for_boolean")

    assert found.graph["6"]["inputs"]["batched_cfg"] == ""
    assert [note for note in found.notes if "batched_cfg" in note and "false" in note]


def test_r12_a_request_around_the_graph_is_taken_off_and_said() -> None:
    for name, key in (
        ("r12_wrapped_in_input_workflow", "input.workflow"),
        ("r12c_wrapped_in_prompt", "prompt"),
    ):
        assert loaded(name).notes[0].startswith(f"taken out of {key}")
        assert size_of(name) == (640, 640, 81)


def test_r13_a_remark_beside_the_nodes_is_left_out_and_said() -> None:
    found = loaded("r13_comment_key_beside_nodes")

    assert "_comment" not in found.graph
    assert found.notes == ("left out what is no node: _comment",)
