"""Each rule strikes on a planted fault, and on nothing else; clean graphs stay clean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfy.graphs.graph import LeftOut
from comfy.lint import Severity, lint
from comfy.lint.registry import RULES
from comfy.node_defs.node_classes import cleans_memory
from comfy.rewrites.site import Site
from tests.support.fleet import changed, wan_graph
from tests.support.sites import a_site, nodes
from tests.support.wan_graphs import wrapper_i2v

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


def denoised(share: float) -> Graph:
    graph = quality()
    plain = {name: graph["58"]["inputs"][name] for name in ("model", "positive", "negative", "cfg", "steps")}
    where = {"latent_image": ["57", 0], "denoise": share, "seed": 1}
    names = {"sampler_name": "euler", "scheduler": "simple"}
    graph["58"] = {"class_type": "KSampler", "inputs": {**plain, **where, **names}}
    return graph


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


def vhs(format_: str) -> Graph:
    graph = quality()
    graph["62"] = {
        "class_type": "VHS_VideoCombine",
        "inputs": {"images": ["8", 0], "format": format_, "frame_rate": 16, "save_output": True},
    }
    return graph


def beside(**nodes_by_class: Graph) -> Graph:
    more = enumerate(nodes_by_class.items(), 900)
    return quality() | {str(number): {"class_type": name, "inputs": each} for number, (name, each) in more}


def without(graph: Graph, node_id: str, name: str) -> Graph:
    inputs = {key: value for key, value in graph[node_id]["inputs"].items() if key != name}
    return graph | {node_id: {**graph[node_id], "inputs": inputs}}


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
    "value-refused": lambda: quality(_57_steps="many"),
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
    "denoise-none": lambda: denoised(0.0),
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
    "many-steps-unguided": lambda: quality(_57_cfg=1.0, _58_cfg=1.0000000000000002),
    "lora-no-effect": lambda: fast(_101_strength_model=0),
    "lora-other-model": lambda: fast(_102_lora_name="Qwen-Image-Lightning-4steps-V1.0.safetensors"),
    "gif": lambda: vhs("video/ffmpeg-gif"),
    "several-outputs": lambda: vhs("video/h264-mp4"),
    "preview": lambda: beside(PreviewImage={"images": ["8", 0]}),
    "rate-and-multiplier": lambda: linked(
        quality(), "60.images", "90", "RIFE VFI", frames="before", multiplier=2
    ),
    "input-missing": lambda: without(quality(), "57", "positive"),
    "model-empty": lambda: quality(_37_unet_name="None"),
    "placeholder": lambda: quality(_6_text="{{prompt}}"),
    "feeds-nothing": lambda: with_node("95", "VAEDecode", samples=["58", 0], vae=["39", 0]),
    "left-out": quality,
    "more-gpus": lambda: quality(_38_device="cuda:1"),
    "service-only": lambda: quality(_37_unet_name="wan2.5_t2v_high_noise_14B.safetensors"),
    "file-layout": lambda: quality(_37_unet_name="diffusion_pytorch_model-00001-of-00006.safetensors"),
    "sage-forced": lambda: linked(
        quality(), "57.model", "94", "PathchSageAttentionKJ", model="before", sage_attention="auto"
    ),
    "encoder-on-cpu": lambda: quality(_38_device="cpu"),
    "fp8-fast": lambda: quality(_37_weight_dtype="fp8_e4m3fn_fast"),
    "gguf": lambda: gguf(Q8),
}
LEFT_OUT = (LeftOut(node_id="12", class_type="LoadImage", how="bypassed"),)
SITE = a_site(arguments=("main.py", "--cache-none"))


def rules_of(graph: Graph, site: Site | None = None) -> set[str]:
    return {diagnostic.rule for diagnostic in lint(graph, site or a_site())}


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule.id for rule in RULES} == set(PLANTED)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_is_found_and_placed(rule: str) -> None:
    graph = PLANTED[rule]()

    found = lint(graph, SITE, left_out=LEFT_OUT)
    diagnostics = [diagnostic for diagnostic in found if diagnostic.rule == rule]

    assert diagnostics
    for diagnostic in diagnostics:
        assert diagnostic.remedy
        if rule not in ("cache-none", "left-out"):
            assert diagnostic.node_id in graph
            assert (
                diagnostic.input_name is None
                or diagnostic.input_name in graph[diagnostic.node_id]["inputs"]
                or rule == "input-missing"
            )


@pytest.mark.parametrize("graph", [quality(), fast()], ids=["quality", "fast"])
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
    fork = nodes(UnetLoaderGGUF={"required": {"unet_name": [[]], "load_device": [["main_device"], {}]}})

    assert "load-device-unknown" not in rules_of(PLANTED["load-device-unknown"](), a_site(definitions=fork))


def test_nvenc_is_no_fault_where_the_card_encodes() -> None:
    assert "nvenc" not in rules_of(nvenc(), a_site(nvenc=True))


def test_one_rule_does_not_fill_the_page() -> None:
    graph = quality() | {
        str(number): {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": Q8, "load_device": "x"}}
        for number in range(1000, 1900)
    }

    assert len([each for each in lint(graph, a_site()) if each.rule == "load-device-unknown"]) == 20


CASES = Path(__file__).parents[3] / "data" / "cases"


def case(name: str) -> Graph:
    graph: Graph = json.loads(next(CASES.glob(f"{name}_*.json")).read_text(encoding="utf-8"))
    return graph


def test_what_is_slow_or_without_effect_in_a_graph_of_people_is_told() -> None:
    assert rules_of(case("r14")) >= {
        "sage-forced",
        "encoder-on-cpu",
        "fp8-fast",
        "preview",
        "feeds-nothing",
        "scaled-cast",
    }


@pytest.mark.parametrize("name", ["r04", "r10", "r11", "r17"])
def test_a_graph_of_people_that_is_right_gets_no_error_and_no_warning_of_a_distilled_set(name: str) -> None:
    found = lint(case(name), a_site())

    assert [each for each in found if each.severity is Severity.ERROR] == []
    assert not {"distilled-cfg", "distilled-steps", "distilled-twice", "lora-one-expert"} & {
        each.rule for each in found
    }


def test_cfg_with_float_dust_leaves_the_negative_prompt_without_effect() -> None:
    assert "negative-dead" in rules_of(case("r04"))


@pytest.mark.parametrize(("live", "severity"), [(False, Severity.WARNING), (True, Severity.ERROR)])
def test_only_what_a_worker_itself_denies_is_an_error(live: bool, severity: Severity) -> None:
    graph = case("r16")
    facts = nodes(
        WanVideoEmptyEmbeds={"required": {"width": ["INT"], "height": ["INT"], "num_frames": ["INT"]}}
    )

    found = lint(graph, a_site(definitions=facts, is_live=live))

    assert [each.severity for each in found if each.rule == "unknown-link"] == [severity]


def test_no_rule_about_wan_strikes_a_graph_of_another_model() -> None:
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors"}},
        "2": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {
                "model": ["1", 0],
                "lora_name": "Flux-Turbo-Alpha-high.safetensors",
                "strength_model": 1,
            },
        },
        "3": {
            "class_type": "EmptyHunyuanLatentVideo",
            "inputs": {"width": 1000, "height": 500, "length": 80, "batch_size": 4},
        },
        "4": {
            "class_type": "KSampler",
            "inputs": {"model": ["2", 0], "latent_image": ["3", 0], "steps": 30, "cfg": 1.0, "seed": 1},
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["6", 0]}},
        "6": {"class_type": "VAELoader", "inputs": {"vae_name": "wan2.2_vae.safetensors"}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
    }
    of_wan = {rule.id for rule in RULES if not rule.any_model}

    assert not rules_of(graph) & of_wan


@pytest.mark.parametrize(
    "class_type",
    [
        "UnloadModel",
        "VRAM_Debug",
        "easy cleanGpuUsed",
        "easy clearCacheAll",
        "LayerUtility: PurgeVRAM",
        "LayerUtility: PurgeVRAM V2",
        "VRAMCleanup",
        "RAMCleanup",
        "FreeMemoryModel",
        "Unload All Models",
    ],
)
def test_memory_cleaners_are_known_by_what_they_do(class_type: str) -> None:
    graph = linked(quality(), "58.latent_image", "96", class_type, anything="before")

    assert "unload-between" in rules_of(graph)


@pytest.mark.parametrize(
    "class_type", ["ClearMask", "CleanedText", "LoadImage", "EmptyLatentImage", "GPUInfo"]
)
def test_what_only_sounds_alike_is_no_memory_cleaner(class_type: str) -> None:
    assert not cleans_memory(class_type)


@pytest.mark.parametrize(
    "text", ["a fox", "{red|green} fox", "100%", "a <lora:x:1> fox", "[close-up] a fox", ""]
)
def test_a_prompt_of_people_is_no_placeholder(text: str) -> None:
    assert "placeholder" not in rules_of(quality(_6_text=text))


@pytest.mark.parametrize(
    "text",
    [
        "%prompt%", "%PROMPT%", "{{ prompt }}", "${PROMPT}", "<your prompt>", "YOUR_PROMPT_HERE",
        "__PROMPT__", "PARAM_STR_PROMPT", "a fox, {{STYLE}}, at dusk", "a ${ANIMAL} in snow",
        "a fox, PARAM_STR_STYLE",
    ],
)  # fmt: skip
def test_a_placeholder_is_told(text: str) -> None:
    assert "placeholder" in rules_of(quality(_6_text=text))


@pytest.mark.parametrize(
    "value", ["PARAM_INT_WIDTH", "{{WIDTH}}", "%width%", "__WIDTH__", "<width>", "${WIDTH}"]
)
def test_a_placeholder_is_told_once_wherever_it_stands(value: str) -> None:
    numbers = {each.rule for each in lint(quality(_59_width=value), a_site()) if each.node_id == "59"}
    names = rules_of(quality(_37_unet_name=f"{value}.safetensors"))

    assert numbers == {"placeholder"}
    assert "placeholder" in names


def test_a_node_that_fills_in_such_words_itself_has_no_placeholders() -> None:
    graph = linked(quality(), "6.text", "90", "ImpactWildcardProcessor", populated_text="__animal__")
    graph["91"] = {"class_type": "Image Save", "inputs": {"images": ["8", 0], "output_path": "%date%"}}

    assert "placeholder" not in rules_of(graph)


@pytest.mark.parametrize(("fps", "told"), [(16, True), (30, False), (32, False), (60, True)])
def test_a_rate_has_to_fit_the_multiplier(fps: int, told: bool) -> None:
    graph = changed(PLANTED["rate-and-multiplier"](), "60.fps", fps)

    assert ("rate-and-multiplier" in rules_of(graph)) is told


def test_frames_off_the_grid_are_told_of_a_node_that_gives_no_size() -> None:
    graph = with_node("95", "WanSoundImageToVideoExtend", length=78)
    graph["57"]["inputs"]["positive"] = ["95", 0]

    assert [
        (each.node_id, each.input_name) for each in lint(graph, a_site()) if each.rule == "frames-grid"
    ] == [("95", "length")]


def test_a_full_model_that_was_distilled_counts_as_few_steps() -> None:
    graph = quality(
        _37_unet_name="wan2.2_t2v_A14b_high_noise_lightx2v_4step_fp8.safetensors",
        _56_unet_name="wan2.2_t2v_A14b_low_noise_lightx2v_4step_fp8.safetensors",
    )

    assert {"distilled-cfg", "distilled-steps"} <= rules_of(graph)


def test_sage_is_no_matter_where_the_worker_has_proven_it() -> None:
    graph = PLANTED["sage-forced"]()

    assert "sage-forced" not in rules_of(graph, a_site(attention_proven={"sage": 0.01}))


def test_a_node_that_is_an_output_only_to_show_something_is_no_second_clip() -> None:
    shows = {"class_type": "PreviewAny", "inputs": {"source": ["57", 0]}}

    assert "several-outputs" not in rules_of(quality() | {"900": shows})


@pytest.mark.parametrize(
    ("file", "is_told"),
    [
        ("TurboWan2.2-I2V-A14B-high-720P.pth", True),
        ("wan2.2/diffusion_pytorch_model.safetensors", True),
        ("wan2.2_t2v.engine", True),
        ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", False),
        ("wan2.2_t2v_high_noise_14B-Q8_0.gguf", False),
    ],
)
def test_a_file_of_another_layout_is_told_where_the_loader_is_comfyuis_own(file: str, is_told: bool) -> None:
    graph = quality(_37_unet_name=file)
    by_a_pack = {**graph, "37": {**graph["37"], "class_type": "SomebodysLoader"}}

    assert ("file-layout" in rules_of(graph)) is is_told
    assert "file-layout" not in rules_of(by_a_pack)


def test_a_rate_is_judged_only_at_an_output_behind_the_interpolation() -> None:
    graph = PLANTED["rate-and-multiplier"]()
    graph["95"] = {"class_type": "CreateVideo", "inputs": {"images": ["8", 0], "fps": 16}}
    graph["96"] = {"class_type": "SaveVideo", "inputs": {"video": ["95", 0], "filename_prefix": "plain"}}

    told = [each.node_id for each in lint(graph, a_site()) if each.rule == "rate-and-multiplier"]

    assert told == ["60"]


def test_steps_are_counted_for_each_clip_of_several() -> None:
    graph = fast()
    second = {"57": "157", "58": "158", "8": "108", "60": "160", "61": "161"}
    for old, new in second.items():
        inputs = {
            name: [second.get(value[0], value[0]), value[1]] if isinstance(value, list) else value
            for name, value in graph[old]["inputs"].items()
        }
        graph[new] = {**graph[old], "inputs": inputs}
    for sampler in ("57", "58", "157", "158"):
        graph = changed(graph, f"{sampler}.steps", 6)
    for sampler in ("58", "158"):
        graph = changed(graph, f"{sampler}.end_at_step", 6)

    assert "distilled-steps" not in rules_of(graph)


@pytest.mark.parametrize(("file", "told"), [("fooMixWan22_{}.safetensors", False), ("", True)])
def test_many_steps_without_guidance_are_told_only_of_models_whose_names_say_what_they_are(
    file: str, told: bool
) -> None:
    graph = PLANTED["many-steps-unguided"]()
    for node_id, level in (("37", "high"), ("56", "low")) if file else ():
        graph = changed(graph, f"{node_id}.unet_name", file.format(level))

    assert ("many-steps-unguided" in rules_of(graph)) is told


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(
    ("input_path", "value"),
    [
        ("59.width", 1_000_000),
        ("59.length", 0),
        ("57.noise_seed", -5),
        ("57.steps", -3),
        ("57.steps", 0),
        ("57.steps", 10**9),
        ("57.cfg", "NaN"),
        ("57.cfg", 1e6),
        ("57.cfg", "much"),
    ],
)
def test_a_value_that_the_node_does_not_take_is_told(input_path: str, value: Any, is_live: bool) -> None:
    found = lint(changed(wan_graph(), input_path, value), a_site(is_live=is_live))

    worst = Severity.ERROR if is_live else Severity.WARNING
    told = [each for each in found if each.rule == "value-refused"]
    assert [f"{each.node_id}.{each.input_name}" for each in told] == [input_path]
    assert told[0].severity is worst


@pytest.mark.parametrize(
    ("how", "feeds", "said"),
    [
        ("muted", (), "it does not run"),
        ("muted", (("60", "audio"),), "CreateVideo (60) runs without audio"),
        (
            "muted",
            (("57", "latent_image"),),
            "KSamplerAdvanced (57) requires latent_image, and nothing is there",
        ),
        ("muted", (("57", "steps"),), "KSamplerAdvanced (57) takes the steps that stands at it"),
        ("muted", (("57", "mask"),), "KSamplerAdvanced (57) gets no mask"),
        ("muted", (("gone", "model"),), "it does not run"),
        ("bypassed", (("57", "model"),), "it hands its inputs on"),
        ("bypassed", (("57", "mask"),), "KSamplerAdvanced (57) gets no mask"),
    ],
)
def test_of_a_node_that_is_left_out_it_is_said_what_becomes_of_those_that_drew_on_it(
    how: str, feeds: tuple[tuple[str, str], ...], said: str
) -> None:
    graph = quality()
    if how == "muted":
        del graph["57"]["inputs"]["latent_image"]
    node = LeftOut(node_id="12", class_type="Somebodys", how=how, feeds=feeds)

    found = lint(graph, a_site(), left_out=(node,))

    (message,) = (each.message for each in found if each.rule == "left-out")
    assert message.endswith(said)


@pytest.mark.parametrize(("high", "low"), [(5, 6), (0, 0)])
def test_steps_that_come_cut_in_two_are_not_held_against_each_other(high: int, low: int) -> None:
    path = Path(__file__).parents[3] / "data" / "graphs" / "multigpu_wrapper_i2v_a14b_gguf.json"
    graph = json.loads(path.read_text(encoding="utf-8"))
    samplers = [key for key, each in graph.items() if each["class_type"].startswith("WanVideoSampler")]
    row = {"steps_high": 4, "steps_low": 12, "model": graph[samplers[0]]["inputs"]["model"]}
    graph["m"] = {"class_type": "WanMoEScheduler" if high else "SomebodysScheduler", "inputs": row}
    for sampler, slot in zip(samplers, (high, low), strict=True):
        graph[sampler]["inputs"] |= {"sigmas": ["m", slot], "steps": 1, "start_step": 0, "end_step": -1}

    assert rules_of(graph).isdisjoint({"split-far-off", "steps-differ", "split-gap", "distilled-steps"})


@pytest.mark.parametrize("kind", ["fp8_scaled", "fp8_e4m3fn_scaled_KJ", "fp8_e5m2_scaled"])
def test_a_cast_of_a_scaled_file_is_told_whatever_its_name_for_that(kind: str) -> None:
    graph = quality(_37_unet_name=f"Wan2_2-T2V-A14B-HIGH_{kind}.safetensors", _37_weight_dtype="fp8_e4m3fn")

    assert "scaled-cast" in rules_of(graph)


@pytest.mark.parametrize(("live", "told"), [(True, True), (False, False)])
def test_a_widget_that_a_later_version_of_a_node_has_is_missed_only_where_a_worker_wants_it(
    live: bool, told: bool
) -> None:
    graph = quality()
    del graph["59"]["inputs"]["batch_size"]

    found = lint(graph, a_site(is_live=live))

    assert ("input-missing" in {each.rule for each in found}) is told


@pytest.mark.parametrize("class_type", ["PreviewAny", "easy cleanGpuUsed"])
def test_a_text_or_a_cleaner_beside_a_preview_keeps_no_clip(class_type: str) -> None:
    graph = quality()
    graph["60"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    graph["61"] = {"class_type": class_type, "inputs": {"source": ["8", 0]}}

    rules = {each.rule for each in lint(graph, SITE)}

    assert "only-previews" in rules
    assert "preview" not in rules


@pytest.mark.parametrize("name", ["keyframes", "reference_images", "clip_vision_output"])
def test_an_image_to_video_model_may_be_given_its_picture_by_any_node(name: str) -> None:
    graph = quality(_37_unet_name="wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors")
    graph["90"] = {"class_type": "LoadImage", "inputs": {"image": "start.png"}}
    graph["91"] = {"class_type": "SomebodysKeyframes", "inputs": {"positive": ["6", 0], name: ["90", 0]}}
    graph["57"]["inputs"]["positive"] = ["91", 0]

    assert "i2v-no-image" not in {each.rule for each in lint(graph, SITE)}


@pytest.mark.parametrize("input_path", ["57.steps", "57.cfg", "57.latent_image"])
def test_what_no_version_of_a_node_takes_is_told(input_path: str) -> None:
    node_id, name = input_path.split(".")
    broken = {"steps": None, "cfg": "much", "latent_image": ["59", 7]}

    found = lint(changed(quality(), input_path, broken[name]), a_site())

    assert [(each.node_id, each.input_name) for each in found if each.rule == "value-refused"] == [
        (node_id, name)
    ]


def test_a_placeholder_in_place_of_a_number_is_told_once() -> None:
    told = [each.rule for each in lint(quality(_59_width="{{WIDTH}}"), a_site()) if each.node_id == "59"]

    assert told == ["placeholder"]


def test_the_rate_of_a_clip_that_is_only_shown_has_to_fit_as_well() -> None:
    graph = linked(quality(), "60.images", "90", "FrameInterpolate", images="before", multiplier=3)
    graph["60"]["inputs"]["fps"] = 36
    graph["61"] = {"class_type": "PreviewVideo", "inputs": {"video": ["60", 0]}}
    for node_id in [key for key, node in graph.items() if node["class_type"] == "SaveVideo"]:
        del graph[node_id]

    assert "rate-and-multiplier" in {each.rule for each in lint(graph, a_site())}


@pytest.mark.parametrize(
    ("vae", "told"),
    [("WAN2.2\\wan_2.1_vae.safetensors", False), ("wan2.2/Wan2_1_VAE_bf16.safetensors", False),
     ("wan2.1/wan2.2_vae.safetensors", True)],
)  # fmt: skip
def test_a_vae_is_judged_by_its_own_name_and_not_by_its_folders(vae: str, told: bool) -> None:
    found = lint(quality(_39_vae_name=vae), a_site())

    assert ("vae-wrong" in {each.rule for each in found}) is told


@pytest.mark.parametrize(("denoise", "told"), [(1.0, True), (0.3, False)])
def test_the_low_noise_expert_may_go_over_what_is_there_alone(denoise: float, told: bool) -> None:
    graph = quality()
    low = graph["58"]["inputs"]
    kept = {name: low[name] for name in ("model", "positive", "negative")}
    graph["57"] = {
        "class_type": "KSampler",
        "inputs": {
            **kept, "latent_image": ["59", 0], "seed": 1, "steps": 8, "cfg": 3.5, "sampler_name": "euler",
            "scheduler": "simple", "denoise": denoise,
        },
    }  # fmt: skip
    graph["8"]["inputs"]["samples"] = ["57", 0]

    assert ("expert-alone" in {each.rule for each in lint(graph, a_site())}) is told


@pytest.mark.parametrize(
    ("class_type", "name", "live", "told"),
    [
        ("ImageBatchMulti", "image_7", True, False),
        ("ImageBatchMulti", "mask_7", True, True),
        ("Any Switch (rgthree)", "any_06", True, False),
        ("ImpactSwitch", "input7", True, False),
        ("ImpactMakeImageBatch", "image5", True, False),
        ("ImpactMakeAnyList", "value4", True, False),
        ("JoinStringMulti", "string_9", True, False),
        ("CreateVideo", "any_02", True, False),
        ("CreateVideo", "b", True, False),
        ("CreateVideo", "start_image", True, True),
        ("WanVideoContextOptions", "vae", False, False),
        ("WanVideoContextOptions", "vae", True, True),
    ],
)
def test_a_link_is_unknown_only_where_no_form_of_the_node_has_it(
    class_type: str, name: str, live: bool, told: bool
) -> None:
    graph = quality()
    graph["90"] = {"class_type": class_type, "inputs": {name: ["8", 0]}}

    found = lint(graph, a_site(is_live=live))

    assert ("unknown-link" in {each.rule for each in found}) is told


@pytest.mark.parametrize(("frames", "told"), [(501, False), (1001, False), (500, True)])
def test_a_long_clip_is_off_the_grid_only_where_its_number_is(frames: int, told: bool) -> None:
    found = lint(quality(_59_length=frames), a_site())

    assert ("frames-grid" in {each.rule for each in found}) is told


def by_split_row(*, whole: bool) -> Graph:
    """The wrapper's two samplers with the halves of a row that is cut after 4 of 30, or steps that say so."""
    graph = wrapper_i2v()
    row = {"scheduler": "unipc", "steps": 30, "shift": 5.0, "start_step": 0, "end_step": -1}
    graph["900"] = {"class_type": "WanVideoScheduler", "inputs": row}
    graph["901"] = {"class_type": "SplitSigmas", "inputs": {"sigmas": ["900", 0], "step": 4}}
    for slot, sampler in enumerate(("27", "90")):
        own = row | (
            {"start_step": 4} if whole and slot else {"end_step": 4} if whole else {"sigmas": ["901", slot]}
        )
        graph[f"91{slot}"] = {"class_type": "WanVideoSchedulerv2", "inputs": own}
        inputs = graph[sampler]["inputs"]
        kept = {name: inputs[name] for name in inputs if name not in row}
        graph[sampler] = {"class_type": "WanVideoSamplerv2", "inputs": kept | {"scheduler": [f"91{slot}", 0]}}
    return graph


def by_a_computed_step() -> Graph:
    graph = quality(_57_end_at_step=4, _58_start_at_step=["90", 1])
    graph["90"] = {"class_type": "SimpleMath+", "inputs": {"value": "2 * 2"}}
    return graph


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (by_split_row(whole=True), True),
        (by_split_row(whole=False), False),
        (quality(_57_end_at_step=4, _58_start_at_step=4), True),
        (by_a_computed_step(), False),
    ],
    ids=["steps-of-the-wrapper", "row-of-the-wrapper", "steps", "computed"],
)
def test_a_cut_far_from_the_middle_is_told_only_where_steps_were_chosen(graph: Graph, told: bool) -> None:
    found = {each.rule for each in lint(graph, a_site())}

    assert ("split-far-off" in found) is told
