"""Small graphs of people on which a plan was wrong: each stands for a kind, and has the right value here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from comfy.wan.find import describe, steps_by_sampler
from comfy.wan.memory import activation_factor
from comfy.wan.models import GIB, Expert
from comfy.wan.precision import Precision
from comfy.wan.roles import find_roles
from comfy.wan.shares import steps_above
from comfy.wan.workload import Workload, read_workload, smallest_vram_class_gib
from tests.support.fleet import changed, wan_graph

CASES = Path(__file__).parents[2] / "data" / "cases"
Graph = dict[str, Any]


def case(name: str) -> Graph:
    graph: Graph = json.loads(next(CASES.glob(f"{name}_*.json")).read_text(encoding="utf-8"))
    return graph


def work_of(graph: Graph) -> Workload:
    work = read_workload(graph)
    assert work is not None
    return work


@pytest.mark.parametrize("cfg", [1, 1.0, 1.0000000000000002, 0.9999999999])
def test_a_cfg_that_comfyui_takes_for_one_is_one_pass(cfg: float) -> None:
    graph = changed(changed(case("r04"), "8.cfg", cfg), "9.cfg", cfg)

    assert math.isclose(cfg, 1.0)
    assert [stage.passes for stage in work_of(graph).stages] == [1, 1]
    assert [stage.guided for stage in find_roles(graph).stages] == [False, False]


@pytest.mark.parametrize("cfg", [1.001, 3.5, 0])
def test_any_other_cfg_is_two_passes(cfg: float) -> None:
    graph = changed(case("r04"), "8.cfg", cfg)

    assert [stage.passes for stage in work_of(graph).stages] == [2, 1]


def test_a_sampler_with_the_plain_guider_is_one_pass() -> None:
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "wan2.1_t2v_14B_fp8_scaled.safetensors"}},
        "2": {"class_type": "BasicGuider", "inputs": {"model": ["1", 0], "conditioning": ["9", 0]}},
        "3": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {"guider": ["2", 0], "latent_image": ["4", 0], "sigmas": ["5", 0]},
        },
        "4": {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 832, "height": 480, "length": 81}},
        "5": {"class_type": "BasicScheduler", "inputs": {"model": ["1", 0], "steps": 6}},
        "9": {"class_type": "CLIPTextEncode", "inputs": {"text": "x"}},
    }

    (stage,) = work_of(graph).stages

    assert (stage.passes, stage.passes_known, stage.steps) == (1, True, 6)


def test_a_bf16_file_that_the_wrapper_quantizes_takes_half_of_it_on_the_card() -> None:
    (stage,) = work_of(case("r05")).stages

    assert stage.weights.file_bytes / GIB == pytest.approx(30.5, abs=0.1)
    assert stage.weights.resident_bytes / GIB == pytest.approx(15.3, abs=0.1)
    assert (stage.weights.precision, stage.weights.certain) == (Precision.FP8, True)


@pytest.mark.parametrize(
    ("quantization", "precision", "gib"),
    [
        ("disabled", Precision.WIDE, 30.5),
        ("fp8_e5m2_scaled_fast", Precision.FP8, 15.3),
        ("int8", Precision.INT8, 15.3),
    ],
)
def test_what_the_loader_makes_of_a_file_counts(quantization: str, precision: Precision, gib: float) -> None:
    (stage,) = work_of(changed(case("r05"), "1.quantization", quantization)).stages

    assert stage.weights.precision is precision
    assert stage.weights.resident_bytes / GIB == pytest.approx(gib, abs=0.1)


def test_a_file_that_is_fp8_already_is_not_halved_again() -> None:
    graph = changed(case("r05"), "1.model", "Wan2_1-I2V-14B-720P_fp8_e4m3fn.safetensors")

    (stage,) = work_of(graph).stages

    assert stage.weights.resident_bytes == stage.weights.file_bytes


def loras(graph: Graph) -> list[list[tuple[Any, Any]]]:
    stages = find_roles(graph).stages
    return [
        [(lora.file.value, lora.strength.value if lora.strength else None) for lora in stage.active_loras]
        for stage in stages
    ]


FEW = "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors"


def test_loras_are_read_from_a_loader_with_many_rows() -> None:
    graph = case("r09")

    assert loras(graph) == [[(FEW, 3.0)], [(FEW, 1.5)]]
    assert [stage.loras for stage in work_of(graph).stages] == [1, 1]


def test_a_row_that_is_off_or_empty_is_no_lora() -> None:
    graph = case("r09")
    graph["13"]["inputs"]["lora_1"]["on"] = False
    graph["13"]["inputs"]["lora_2"] = {"on": True, "lora": "None", "strength": 1}

    assert loras(graph) == [[], [(FEW, 1.5)]]


@pytest.mark.parametrize(
    ("class_type", "inputs", "expected"),
    [
        (
            "Lora Loader Stack (rgthree)",
            {"lora_01": "a.safetensors", "strength_01": 0.5, "lora_02": "None", "strength_02": 1},
            [("a.safetensors", 0.5)],
        ),
        (
            "LoRA Stacker Loader",
            {
                "lora_count": 1,
                "lora_name_1": "a.safetensors",
                "lora_wt_1": 0.8,
                "lora_name_2": "b.safetensors",
                "lora_wt_2": 1,
            },
            [("a.safetensors", 0.8)],
        ),
        (
            "easy loraStackApply",
            {"toggle": True, "num_loras": 2, "lora_1_name": "a.safetensors", "lora_1_strength": 0.7},
            [("a.safetensors", 0.7)],
        ),
        (
            "CR Load LoRA Stack",
            {"switch_1": "Off", "lora_name_1": "a.safetensors", "model_weight_1": 1.0},
            [],
        ),
        (
            "Lora Loader (LoraManager)",
            {"loras": {"__value__": [{"name": "a.safetensors", "strength": 0.6, "active": True}]}},
            [("a.safetensors", 0.6)],
        ),
    ],
)
def test_rows_of_other_packs_are_read_too(
    class_type: str, inputs: Graph, expected: list[tuple[str, float]]
) -> None:
    graph = case("r09")
    graph["13"] = {"class_type": class_type, "inputs": {"model": ["1", 0], **inputs}}

    assert loras(graph)[0] == expected


def test_a_stack_of_loras_is_followed_from_the_node_that_applies_it() -> None:
    graph = case("r09")
    row = {"lora_name_1": "a.safetensors", "model_weight_1": 0.4, "switch_1": "On"}
    graph["13"] = {
        "class_type": "CR Apply LoRA Stack",
        "inputs": {"model": ["1", 0], "lora_stack": ["30", 0]},
    }
    graph["30"] = {"class_type": "CR LoRA Stack", "inputs": row}

    assert loras(graph)[0] == [("a.safetensors", 0.4)]


def test_a_lora_of_strength_zero_is_none() -> None:
    graph = case("r10")

    assert [len(stage.loras) for stage in find_roles(graph).stages] == [2, 1]
    assert [stage.loras for stage in work_of(graph).stages] == [1, 1]


def test_a_sampler_of_both_experts_runs_its_steps_once() -> None:
    graph = case("r11")
    stages = find_roles(graph).stages

    assert [stage.expert for stage in stages] == [Expert.HIGH, Expert.LOW]
    assert [stage.steps for stage in work_of(graph).stages] == [4, 4]
    assert steps_by_sampler(graph) == {"8": 8}
    assert describe(graph).endswith("8 steps")


def test_each_expert_of_one_sampler_has_its_own_cfg() -> None:
    graph = changed(case("r11"), "8.cfg_high_noise", 3.5)

    assert [stage.passes for stage in work_of(graph).stages] == [2, 1]


def test_a_sampler_of_three_stages_tells_their_steps_and_guidance() -> None:
    graph = case("r11")
    graph["8"] = {
        "class_type": "TripleKSamplerWan22LightningAdvanced",
        "inputs": {
            "base_high": ["1", 0],
            "lightning_high": ["13", 0],
            "lightning_low": ["14", 0],
            "positive": ["4", 0],
            "negative": ["5", 0],
            "latent_image": ["7", 0],
            "seed": 1,
            "sigma_shift": 5.0,
            "base_steps": 3,
            "base_cfg": 3.5,
            "lightning_start": 1,
            "lightning_steps": 8,
            "lightning_cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "simple",
            "switch_strategy": "50% of steps",
        },
    }

    stages = work_of(graph).stages

    assert [(stage.label, stage.steps, stage.passes) for stage in stages] == [
        ("high", 3, 2),
        ("high", 3, 1),
        ("low", 4, 1),
    ]


@pytest.mark.parametrize(
    ("boundary", "shift", "steps", "above"),
    [(0.875, 5, 8, 4), (0.9, 5, 4, 2), (0.875, 12, 40, 26), (1, 5, 4, 1)],
)
def test_steps_above_a_boundary_follow_the_shifted_noise(
    boundary: float, shift: float, steps: int, above: int
) -> None:
    assert steps_above(boundary, shift=shift, steps=steps) == above


def test_a_single_model_with_high_in_its_name_is_no_expert() -> None:
    (stage,) = find_roles(case("r17")).stages

    assert (stage.expert, stage.evidence) == (Expert.SINGLE, "its model has no experts")


def test_a_pair_that_is_global_and_local_is_not_taken_for_high_and_low() -> None:
    graph = wan_graph()
    graph["37"]["inputs"]["unet_name"] = "wan2.2_dancer_14b_global_fp8_scaled.safetensors"
    graph["56"]["inputs"]["unet_name"] = "wan2.2_dancer_14b_local_fp8_scaled.safetensors"

    assert {stage.expert for stage in find_roles(graph).stages} == {Expert.SINGLE}


def test_a_merge_with_an_odd_name_is_planned_as_a_guess_and_keeps_no_job_from_a_small_card() -> None:
    graph = case("r18")
    work = work_of(graph)

    assert [stage.label for stage in work.stages] == ["high", "low"]
    assert not any(stage.weights.certain or stage.memory.certain for stage in work.stages)
    assert smallest_vram_class_gib(graph) is None


def test_a_model_of_any_name_among_the_nodes_of_wan_is_planned_as_a_guess() -> None:
    graph = wan_graph()
    graph["37"]["inputs"]["unet_name"] = "myFavourite_v3_high.safetensors"
    graph["56"]["inputs"]["unet_name"] = "myFavourite_v3_low.safetensors"
    graph["59"] = {
        "class_type": "WanImageToVideo",
        "inputs": {"width": 832, "height": 480, "length": 81, "batch_size": 1},
    }

    work = work_of(graph)

    assert [stage.weights.family.name for stage in work.stages] == ["14B", "14B"]
    assert not any(stage.weights.certain for stage in work.stages)
    assert smallest_vram_class_gib(graph) is None


def test_loras_in_rows_are_files_of_the_job() -> None:
    files = {file.name: file for file in work_of(case("r09")).files}

    assert files[FEW].folder == "loras"
    assert files[FEW].size_bytes is not None


@pytest.mark.parametrize(
    ("model", "factor"),
    [
        ("wan2.1_t2v_14B_fp8_scaled.safetensors", 1.0),
        ("wan2.1_vace_14B_fp16.safetensors", 1.2),
        ("wan2.2_dancer_14b_global_fp8_scaled.safetensors", 1.8),
    ],
)
def test_activations_grow_with_what_the_model_was_made_into(model: str, factor: float) -> None:
    assert activation_factor([model, "wan_2.1_vae.safetensors"]) == factor


def test_a_gguf_file_is_sized_by_its_kind() -> None:
    stages = work_of(case("r19")).stages

    assert [stage.weights.resident_bytes / GIB for stage in stages] == pytest.approx([6.07, 6.07], rel=0.03)
    assert all(stage.weights.precision is Precision.GGUF for stage in stages)


@pytest.mark.parametrize(
    ("loader", "name", "file", "gib"),
    [
        ("WanVideoVACEModelSelect", "vace_model", "Wan2_1-VACE_module_14B_bf16.safetensors", 5.7),
        ("MultiTalkModelLoader", "model", "Wan2_1-InfiniTetalk-Single_fp16.safetensors", 4.8),
    ],
)
def test_a_module_that_is_put_on_the_model_weighs_beside_it(
    loader: str, name: str, file: str, gib: float
) -> None:
    graph = case("r05")
    graph["900"] = {"class_type": loader, "inputs": {name: file}}
    with_module = changed(graph, "1.extra_model", ["900", 0])

    weights = [work_of(each).stages[0].memory.resident_bytes for each in (graph, with_module)]

    assert (weights[1] - weights[0]) / GIB == pytest.approx(gib, abs=0.1)
