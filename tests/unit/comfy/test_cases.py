"""Files of people that once failed, each for a kind, with what is right (`tests/data/cases`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfy.generations import NEWEST
from comfy.graphs.graph import Graph, Loaded
from comfy.node_defs.definitions import parse_definitions, shipped_definitions
from comfy.ui.load import load_any
from comfy.wan.models import Expert
from comfy.wan.roles import Roles, find_roles
from farm.asking.inspection import clip_of
from farm.fleet.judge import Judge

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


def test_r06_a_size_is_found_under_any_name_that_says_width_and_height() -> None:
    assert size_of("r06_size_named_generation_width") == (832, 480, 81)


def test_r07_a_size_is_followed_through_a_resize_that_rounds() -> None:
    assert size_of("r07_size_from_resize_with_literals") == (704, 704, 81)


def test_r08_the_rate_of_an_output_that_is_not_saved_counts_where_none_is() -> None:
    clip = clip_of(roles_of("r08_save_output_false_loses_fps"))

    assert (clip.fps, clip.seconds) == (16, 5.06)


def test_r09_loras_in_rows_are_seen_with_their_strengths() -> None:
    stages = roles_of("r09_loras_in_power_lora_loader").stages

    assert [[lora.strength.value for lora in stage.loras if lora.strength] for stage in stages] == [
        [3.0],
        [1.5],
    ]
    assert len({lora.file.value for stage in stages for lora in stage.loras}) == 1


def test_r10_a_lora_of_strength_zero_is_there_and_has_no_effect() -> None:
    high, _ = roles_of("r10_lora_of_strength_zero").stages

    assert len(high.loras) == 2
    assert [lora.file.value for lora in high.active_loras] == [
        "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors"
    ]


def test_r11_a_sampler_of_both_experts_does_its_steps_once_each_with_its_own_cfg() -> None:
    stages = roles_of("r11_moe_sampler_counts_steps_twice").stages

    assert sum(stage.steps_run or 0 for stage in stages) == 8
    assert [str(stage.settings["cfg"].set_at) for stage in stages] == ["8.cfg_high_noise", "8.cfg_low_noise"]


def test_r16_facts_older_than_the_file_do_not_hide_its_size() -> None:
    assert size_of("r16_empty_embeds_extra_latents") == (1024, 1024, 121)


def test_r17_a_single_model_with_high_in_its_name_is_single() -> None:
    (stage,) = roles_of("r17_single_model_with_high_in_name").stages

    assert stage.expert is Expert.SINGLE


def test_infinite_limits_take_any_finite_value() -> None:
    more = parse_definitions(json.loads((_FOLDER / "infinite_minimum.json").read_bytes()))
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "OddFloat", "inputs": {"images": ["1", 0], "gain": -1e30}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "odd"}},
    }

    assert Judge({**shipped_definitions(), **more}, NEWEST).problems(graph) == []
