"""Each rule strikes on a planted fault, and on nothing else; clean graphs stay clean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from comfy.lint import Severity, lint
from comfy.lint.registry import RULES
from comfy.node_defs.definitions import parse_node
from comfy.rewrites import Site
from tests.support.fleet import changed, wan_graph
from tests.support.sites import a_site, nodes, wrapper_graph

Graph = dict[str, Any]
HIGH = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors"
LOW = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors"


def fast(**changes: Any) -> Graph:
    """The graph with its LoRA pair: 101 on the high-noise expert, 102 on the low-noise one."""
    graph = wan_graph(preset="fast", negative="")
    for input_path, value in changes.items():
        node_id, name = input_path[1:].split("_", 1)
        graph = changed(graph, f"{node_id}.{name}", value)
    return graph


def quality(**changes: Any) -> Graph:
    graph = wan_graph()
    for input_path, value in changes.items():
        node_id, name = input_path[1:].split("_", 1)
        graph = changed(graph, f"{node_id}.{name}", value)
    return graph


def linked(graph: Graph, input_path: str, node_id: str, class_type: str, **inputs: Any) -> Graph:
    """A node put between an input and what it drew on."""
    at, name = input_path.split(".")
    inputs = {key: graph[at]["inputs"][name] if value == "before" else value for key, value in inputs.items()}
    graph = changed(graph, input_path, [node_id, 0])
    graph[node_id] = {"class_type": class_type, "inputs": inputs}
    return graph


def one_expert() -> Graph:
    graph = quality()
    graph["8"]["inputs"]["samples"] = ["57", 0]
    return graph


def rife_then_model() -> Graph:
    graph = linked(quality(), "60.images", "90", "RIFE VFI", frames="before", multiplier=2)
    return linked(graph, "60.images", "91", "ImageUpscaleWithModel", image="before")


def webp() -> Graph:
    graph = quality()
    graph["61"] = {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["8", 0], "fps": 16.0}}
    return graph


def nvenc() -> Graph:
    graph = quality()
    graph["61"] = {
        "class_type": "VHS_VideoCombine",
        "inputs": {"images": ["8", 0], "format": "video/nvenc_h264-mp4", "save_output": True},
    }
    return graph


def previewed() -> Graph:
    graph = quality()
    graph["61"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    return graph


def gguf(name: str) -> Graph:
    graph = quality()
    graph["37"] = {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": name}}
    return graph


def with_node(node_id: str, class_type: str, **inputs: Any) -> Graph:
    return quality() | {node_id: {"class_type": class_type, "inputs": inputs}}


Q8 = "wan2.2_t2v_high_noise_14B_Q8_0.gguf"
PLANTED: dict[str, Callable[[], Graph]] = {
    "expert-alone": one_expert,
    "experts-swapped": lambda: quality(
        _37_unet_name="wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors",
        _56_unet_name="wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
    ),
    "vae-wrong": lambda: quality(_39_vae_name="wan2.2_vae.safetensors"),
    "i2v-no-image": lambda: quality(_37_unet_name="wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors"),
    "scaled-cast": lambda: quality(_37_weight_dtype="fp8_e4m3fn"),
    "lora-swapped": lambda: fast(_101_lora_name=LOW, _102_lora_name=HIGH),
    "lora-wrong-expert": lambda: fast(_102_lora_name=HIGH),
    "lora-on-both": lambda: fast(_101_lora_name="style.safetensors", _102_lora_name="style.safetensors"),
    "lora-one-expert": lambda: changed(fast(), "55.model", ["56", 0]),
    "distilled-cfg": lambda: fast(_57_cfg=3.5),
    "distilled-steps": lambda: fast(_57_steps=20, _58_steps=20, _57_end_at_step=10, _58_start_at_step=10),
    "distilled-twice": lambda: linked(
        fast(), "54.model", "103", "LoraLoaderModelOnly", model="before", lora_name=HIGH, strength_model=1.0
    ),
    "steps-differ": lambda: quality(_57_steps=24),
    "split-gap": lambda: quality(_58_start_at_step=12),
    "noise-handed-on": lambda: quality(_57_return_with_leftover_noise="disable"),
    "split-far-off": lambda: quality(_57_end_at_step=2, _58_start_at_step=2),
    "cache-few-steps": lambda: linked(fast(), "57.model", "110", "EasyCache", model="before"),
    "negative-dead": lambda: fast(_7_text="blurry"),
    "batch-size": lambda: quality(_59_batch_size=4),
    "frames-grid": lambda: quality(_59_length=80),
    "size-grid": lambda: quality(_59_width=830),
    "interpolate-before-upscale": rife_then_model,
    "nvenc": nvenc,
    "webp": webp,
    "only-previews": previewed,
    "load-device-unknown": lambda: changed(gguf(Q8), "37.load_device", "main_device"),
    "unknown-link": lambda: changed(quality(), "60.video_codec", ["39", 0]),
    "compile-unlinked": lambda: with_node("95", "WanVideoTorchCompileSettings", backend="inductor"),
    "unload-between": lambda: linked(quality(), "58.latent_image", "96", "UnloadModel", value="before"),
    "cache-none": quality,
    "gguf": lambda: gguf(Q8),
}
SITE = a_site(arguments=("main.py", "--cache-none"))


def rules_of(graph: Graph, site: Site | None = None) -> set[str]:
    return {diagnostic.rule for diagnostic in lint(graph, site or a_site())}


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule.id for rule in RULES} == set(PLANTED)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_is_found_and_placed(rule: str) -> None:
    graph = PLANTED[rule]()

    diagnostics = [diagnostic for diagnostic in lint(graph, SITE) if diagnostic.rule == rule]

    assert diagnostics
    for diagnostic in diagnostics:
        assert diagnostic.remedy
        if rule != "cache-none":
            assert diagnostic.node_id in graph
            assert (
                diagnostic.input_name is None or diagnostic.input_name in graph[diagnostic.node_id]["inputs"]
            )


@pytest.mark.parametrize("graph", [quality(), fast(), wrapper_graph()], ids=["quality", "fast", "wrapper"])
def test_a_sound_graph_is_left_alone(graph: Graph) -> None:
    assert rules_of(graph) == set()


def test_the_worst_comes_first() -> None:
    graph = changed(fast(_7_text="blurry", _57_cfg=3.5), "102.lora_name", HIGH)

    found = [diagnostic.severity for diagnostic in lint(graph, a_site())]

    assert found == sorted(found, key=list(Severity).index)


def test_a_swapped_pair_is_told_once_and_not_as_two_wrong_ones() -> None:
    assert "lora-wrong-expert" not in rules_of(PLANTED["lora-swapped"]())


def test_a_switch_that_is_off_counts_as_off() -> None:
    graph = changed(quality(_57_cfg=["70", 0]), "58.cfg", 1.0)
    graph["7"]["inputs"]["text"] = "blurry"
    graph["70"] = {
        "class_type": "ComfySwitchNode",
        "inputs": {"switch": False, "on_false": 1.0, "on_true": 4.0},
    }

    assert "negative-dead" in rules_of(graph)


def test_nag_gives_a_negative_prompt_an_effect() -> None:
    graph = linked(PLANTED["negative-dead"](), "57.model", "97", "WanVideoNAG", model="before", nag_scale=11)

    assert "negative-dead" not in rules_of(graph)


def test_a_fork_that_has_the_input_may_be_given_it() -> None:
    fork = nodes() | {
        "UnetLoaderGGUF": parse_node(
            "UnetLoaderGGUF",
            {
                "input": {"required": {"unet_name": [[]], "load_device": [["main_device"], {}]}},
                "output": ["MODEL"],
            },
        )
    }

    assert "load-device-unknown" not in rules_of(PLANTED["load-device-unknown"](), a_site(definitions=fork))


def test_nvenc_is_no_fault_where_the_card_encodes() -> None:
    assert "nvenc" not in rules_of(nvenc(), a_site(nvenc=True))


def test_one_rule_does_not_fill_the_page() -> None:
    graph = quality() | {
        str(number): {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": Q8, "load_device": "x"}}
        for number in range(1000, 1900)
    }

    assert len([each for each in lint(graph, a_site()) if each.rule == "load-device-unknown"]) == 20
