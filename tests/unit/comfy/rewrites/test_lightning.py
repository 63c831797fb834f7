"""Few-step LoRAs: the right file on each expert, with the settings they were made for, or a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from comfy.judging.validation import validate
from comfy.node_defs.definitions import Definitions, with_choices
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.lightning import LIGHTNING
from comfy.rewrites.optimize import Optimized, RewriteStatus, optimize
from comfy.rewrites.options import RewriteOptions
from tests.support.fleet import changed, wan_graph
from tests.support.sites import a_site, nodes, wrapper_graph

HIGH = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors"
LOW = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors"
OF_I2V = "wan2.2_i2v_lightx2v_4steps_lora_v1_{}_noise.safetensors"


def with_loras(names: Sequence[str] | None) -> Definitions:
    found = nodes()
    for class_type, input_name in (("LoraLoaderModelOnly", "lora_name"), ("WanVideoLoraSelect", "lora")):
        found[class_type] = with_choices(found[class_type], input_name, names)
    return found


ALL = with_loras([OF_I2V.format("high"), OF_I2V.format("low"), "my_style.safetensors", LOW, HIGH])


def lit(graph: dict[str, Any], definitions: Definitions = ALL) -> Optimized:
    return optimize(
        graph,
        a_site(definitions=definitions),
        accept=ChangeKind.DIFFERENT,
        options=RewriteOptions(lightning=True),
        rewrites=[LIGHTNING],
    )


def why_not(result: Optimized) -> str:
    (outcome,) = result.outcomes
    assert outcome.status is RewriteStatus.SKIPPED
    assert outcome.changes == ()
    return outcome.notes[0]


def test_each_expert_gets_its_own_file_and_the_settings() -> None:
    graph = lit(wan_graph()).graph

    behind = {node: graph[graph[node]["inputs"]["model"][0]]["inputs"] for node in ("54", "55")}
    assert (behind["54"]["lora_name"], behind["54"]["model"]) == (HIGH, ["37", 0])
    assert (behind["55"]["lora_name"], behind["55"]["model"]) == (LOW, ["56", 0])
    high, low = graph["57"]["inputs"], graph["58"]["inputs"]
    assert (high["steps"], high["cfg"], high["start_at_step"], high["end_at_step"]) == (4, 1.0, 0, 2)
    assert (low["steps"], low["cfg"], low["start_at_step"]) == (4, 1.0, 2)
    assert graph["54"]["inputs"]["shift"] == graph["55"]["inputs"]["shift"] == 5.0


def test_it_samples_as_the_preset_fast_does() -> None:
    preset, graph = wan_graph(preset="fast"), lit(wan_graph()).graph

    names = ("steps", "cfg", "start_at_step", "end_at_step", "sampler_name", "scheduler")
    for node in ("57", "58"):
        assert [graph[node]["inputs"][name] for name in names] == [
            preset[node]["inputs"][name] for name in names
        ]


def test_the_changed_graph_is_valid_and_a_second_time_changes_nothing() -> None:
    once = lit(wan_graph())

    assert validate(once.graph, ALL).ok
    assert "already" in why_not(lit(dict(once.graph)))


def test_a_lora_that_is_there_stays_behind_the_new_one() -> None:
    graph = wan_graph()
    graph["90"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"lora_name": "my_style.safetensors", "strength_model": 0.7, "model": ["37", 0]},
    }
    graph["54"]["inputs"]["model"] = ["90", 0]

    after = lit(graph).graph

    assert after["54"]["inputs"]["model"] == ["90", 0]
    assert after[after["90"]["inputs"]["model"][0]]["inputs"]["lora_name"] == HIGH


def test_the_wrappers_experts_get_theirs_before_what_they_have() -> None:
    graph = wrapper_graph()
    graph["90"] = {
        "class_type": "WanVideoLoraSelect",
        "inputs": {"lora": "my_style.safetensors", "strength": 1.0},
    }
    graph["1"]["inputs"]["lora"] = ["90", 0]

    after = lit(graph).graph

    added = after[after["1"]["inputs"]["lora"][0]]["inputs"]
    assert (added["lora"], added["prev_lora"]) == (HIGH, ["90", 0])
    assert after[after["2"]["inputs"]["lora"][0]]["inputs"]["lora"] == LOW
    assert after["5"]["inputs"]["end_step"] == after["6"]["inputs"]["start_step"] == 2


@pytest.mark.parametrize(
    ("installed", "reason"),
    [([HIGH], "no pair"), ([OF_I2V.format("high"), OF_I2V.format("low")], "no pair"), (None, "not known")],
)
def test_without_both_files_nothing_is_done(installed: list[str] | None, reason: str) -> None:
    assert reason in why_not(lit(wan_graph(), with_loras(installed)))


def test_a_model_for_which_there_is_no_such_lora_is_named() -> None:
    graph = changed(wan_graph(), "37.unet_name", "wan2.2_fun_camera_high_noise_14B.safetensors")

    assert "wan2.2_fun_camera" in why_not(lit(graph))


def test_it_is_not_done_unless_asked_for() -> None:
    result = optimize(wan_graph(), a_site(gib=80, definitions=ALL), accept=ChangeKind.DIFFERENT)

    assert result.changes == ()


def test_a_steps_link_that_both_samplers_share_is_cut_in_both() -> None:
    graph = changed(changed(wan_graph(), "57.steps", ["80", 0]), "58.steps", ["80", 0])
    graph["80"] = {"class_type": "PrimitiveInt", "inputs": {"value": 20}}

    after = lit(graph).graph

    assert after["57"]["inputs"]["steps"] == after["58"]["inputs"]["steps"] == 4
