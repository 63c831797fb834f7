"""What each node of a graph is for, in each of the shapes in which people build graphs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from comfy.node_defs.definitions import parse_definitions, shipped_definitions
from comfy.wan.roles import Expert, Roles, find_roles
from comfy.wan.templates import get_template
from tests.support.wan_graphs import a14b_by_switches, custom_sampling, node, wrapper_i2v

GRAPHS = Path(__file__).parents[2] / "data" / "graphs"


def public(name: str) -> dict[str, Any]:
    """A graph as people have it, rebuilt."""
    graph: dict[str, Any] = json.loads((GRAPHS / f"{name}.json").read_text(encoding="utf-8"))
    return graph


def paths(roles: Roles, role: str) -> list[str]:
    return [str(each.set_at) for each in roles.of(role)]


def loras(roles: Roles, stage: int) -> list[tuple[Any, Any]]:
    return [
        (each.file.value, each.strength.value if each.strength else None)
        for each in roles.stages[stage].loras
    ]


def test_the_built_in_template_is_read_with_and_without_definitions() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="a fox", preset="fast", seed=3).graph

    roles = find_roles(graph)

    assert roles == find_roles(graph, shipped_definitions())
    assert {
        name: paths(roles, name) for name in ("prompt", "negative", "seed", "width", "frames", "fps")
    } == {
        "prompt": ["6.text"],
        "negative": ["7.text"],
        "seed": ["57.noise_seed"],
        "width": ["59.width"],
        "frames": ["59.length"],
        "fps": ["60.fps"],
    }
    assert [stage.expert for stage in roles.stages] == [Expert.HIGH, Expert.LOW]
    assert [stage.steps_run for stage in roles.stages] == [2, 2]
    assert "high_noise" in roles.stages[0].loras[0].file.value
    assert [part.node_id for part in roles.stages[1].patches] == ["55"]
    assert roles.value("shift") == 5.0
    assert [each.file.value for each in roles.vaes if each.file] == ["wan_2.1_vae.safetensors"]
    assert [each.class_type for each in roles.text_encoders] == ["CLIPLoader"]
    assert [(each.node_id, each.saves) for each in roles.outputs] == [("61", True)]


def test_values_are_found_where_a_switch_takes_them_from() -> None:
    roles = find_roles(a14b_by_switches(few_steps=False))

    assert [stage.get("steps") and stage.whole("steps") for stage in roles.stages] == [20, 20]
    assert set(paths(roles, "steps")) == {"128.value"}
    assert set(paths(roles, "cfg")) == {"126.value"}
    assert [stage.steps_run for stage in roles.stages] == [10, 10]
    assert loras(roles, 0) == loras(roles, 1) == []
    assert "101" not in roles.running


def test_the_other_position_of_the_switch_brings_other_values_and_the_loras() -> None:
    roles = find_roles(a14b_by_switches(few_steps=True))

    assert set(paths(roles, "steps")) == {"118.value"}
    assert roles.value("cfg") == 1.0
    assert loras(roles, 0) == [("4steps_high_noise.safetensors", None)]
    assert [stage.expert for stage in roles.stages] == [Expert.HIGH, Expert.LOW]


def test_a_calculated_value_is_known_and_said_to_be_calculated() -> None:
    frames = find_roles(a14b_by_switches()).one("frames")

    assert frames is not None
    assert (frames.value, frames.is_computed, frames.source_id) == (81, True, "163")


def test_a_start_image_is_found_under_its_name() -> None:
    assert paths(find_roles(a14b_by_switches()), "start_image") == ["97.image"]


@pytest.mark.parametrize("suffix", ["", "MultiGPU"])
def test_the_wrapper_has_the_same_roles_whatever_the_suffix(suffix: str) -> None:
    roles = find_roles(wrapper_i2v(suffix))

    assert roles.value("prompt") == "a cat"
    assert roles.value("negative") == "blurry"
    assert paths(roles, "negative") == ["16.negative_prompt"]
    assert paths(roles, "seed") == ["27.seed"]
    assert (roles.value("width"), roles.value("height"), roles.value("frames")) == (832, 480, 81)
    assert paths(roles, "width") == ["80.value"]
    assert paths(roles, "start_image") == ["58.image"]
    assert [stage.expert for stage in roles.stages] == [Expert.HIGH, Expert.LOW]
    assert [stage.steps_run for stage in roles.stages] == [4, 4]
    assert [each.file.value for each in roles.text_encoders if each.file] == ["umt5-xxl-enc-bf16.safetensors"]
    assert [part.node_id for part in roles.decodes] == ["28"]
    assert [each.multiplier.value for each in roles.interpolations if each.multiplier] == [2]
    assert {part.node_id for part in roles.block_swaps} == {"39", "70"}
    assert roles.value("fps") == 32


def test_loras_of_the_wrapper_come_in_the_order_in_which_they_are_put_on() -> None:
    roles = find_roles(wrapper_i2v())

    assert loras(roles, 0) == [("lightx2v_HIGH.safetensors", 1.0), ("style.safetensors", 0.5)]
    assert loras(roles, 1) == [("lightx2v_LOW.safetensors", 1.2)]
    assert roles.stages[0].loras[0].expert is Expert.HIGH


def test_a_row_of_core_loras_comes_in_order() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x", preset="fast").graph
    graph["200"] = node(
        "LoraLoaderModelOnly", model=["101", 0], lora_name="mine.safetensors", strength_model=0.4
    )
    graph["54"]["inputs"]["model"] = ["200", 0]

    names = [name for name, _ in loras(find_roles(graph), 0)]

    assert names[1] == "mine.safetensors"
    assert "lightx2v" in names[0]


def test_settings_are_found_that_stand_in_the_nodes_around_a_sampler() -> None:
    roles = find_roles(custom_sampling())
    (stage,) = roles.stages

    assert {name: each.value for name, each in stage.settings.items()} == {
        "seed": 11,
        "steps": 6,
        "cfg": 1.0,
        "sampler": "lcm",
        "scheduler": "simple",
        "denoise": 1.0,
    }
    assert (stage.expert, stage.loader and stage.loader.class_type) == (Expert.SINGLE, "UnetLoaderGGUF")
    assert paths(roles, "prompt") == ["5.value"]
    assert roles.of("negative") == ()  # zeroed out: no text has an effect
    assert [part.class_type for part in roles.caches] == ["EasyCache"]
    assert [part.class_type for part in roles.upscalers] == ["ImageScaleBy"]
    assert [(each.class_type, each.saves) for each in roles.outputs] == [
        ("SaveAnimatedWEBP", True),
        ("PreviewImage", False),
    ]
    assert roles.value("fps") == 24.0


def test_a_pair_of_split_sigmas_gives_the_steps_of_each_half() -> None:
    graph = custom_sampling()
    second = copy.deepcopy(graph["13"])
    graph["20"] = node("SplitSigmas", sigmas=["11", 0], step=2)
    graph["13"]["inputs"]["sigmas"] = ["20", 0]
    second["inputs"] |= {"sigmas": ["20", 1], "latent_image": ["13", 0], "noise": ["21", 0]}
    graph["21"] = node("DisableNoise")
    graph["22"] = second
    graph["14"]["inputs"]["samples"] = ["22", 0]

    roles = find_roles(graph)

    assert [stage.steps_run for stage in roles.stages] == [2, 4]
    assert paths(roles, "seed") == ["9.noise_seed"]


def with_row(*rows: tuple[str, int] | None, **makers: Any) -> dict[str, Any]:
    """Two of the wrapper's samplers of one step each, and the rows of levels that are linked into them."""
    graph = {"1": node("WanVideoModelLoader", model="Wan2_1-T2V-14B.safetensors"), **makers}
    for number, row in enumerate(rows, 2):
        graph[str(number)] = node("WanVideoSampler", model=["1", 0], steps=1, start_step=0, end_step=-1)
        graph[str(number)]["inputs"] |= {} if row is None else {"sigmas": list(row)}
    return graph


_MOE = node("WanMoEScheduler", steps_high=8, steps_low=12, model=["1", 0])


@pytest.mark.parametrize(
    ("row", "maker", "steps"),
    [
        (None, _MOE, 1),
        (("m", 4), _MOE, 20),
        (("m", 5), _MOE, 8),
        (("m", 6), _MOE, 12),
        (("m", 0), node("BasicScheduler", steps=9, denoise=1.0), 9),
        (("m", 0), node("WanVideoScheduler", steps=7, start_step=0, end_step=-1), 7),
        (("m", 0), node("ManualSigmas", sigmas="1., 0.9, 0.725, 0.42, 0.0"), 4),
        (("m", 0), node("FlipSigmas", sigmas=["n", 0]), 9),
        (("m", 0), node("SplitSigmas", sigmas=["n", 0], step=4), 4),
        (("m", 1), node("SplitSigmas", sigmas=["n", 0], step=4), 5),
        (("m", 0), node("Sigmas Pad", sigmas=["n", 0], value=0.0), None),
        (("m", 0), node("ExtendIntermediateSigmas", sigmas=["n", 0], steps=2), None),
        (("m", 0), node("SomebodysSigmas", count=5), None),
        (("m", 0), node("FlipSigmas", sigmas=["m", 0]), None),
    ],
)
def test_a_row_of_noise_levels_says_the_steps_whatever_stands_at_the_sampler(
    row: tuple[str, int] | None, maker: dict[str, Any], steps: int | None
) -> None:
    graph = with_row(row, m=maker, n=node("BasicScheduler", steps=9, denoise=1.0))

    (stage,) = find_roles(graph, shipped_definitions()).stages

    assert stage.steps_run == steps
    found = stage.get("steps")
    assert found is not None
    assert steps is not None or (found.is_computed and found.source_id == "m")


def test_steps_that_a_scheduler_for_two_experts_tells_are_known_at_usual_samplers_too() -> None:
    graph = {"m": _MOE, "2": node("KSamplerAdvanced", steps=["m", 1], end_at_step=["m", 2])}

    (stage,) = find_roles(graph, shipped_definitions()).stages

    assert stage.steps_run == 8


def test_a_swapped_pair_shows_in_what_file_and_steps_say() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    high, low = graph["37"]["inputs"], graph["56"]["inputs"]
    high["unet_name"], low["unet_name"] = low["unet_name"], high["unet_name"]

    first = find_roles(graph).stages[0]

    assert (first.expert, first.evidence) == (Expert.LOW, "the model file's name")
    assert (first.by_file, first.by_position) == (Expert.LOW, Expert.HIGH)


def test_experts_whose_files_say_nothing_are_told_by_their_steps() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    graph["37"]["inputs"]["unet_name"] = "one.safetensors"
    graph["56"]["inputs"]["unet_name"] = "two.safetensors"

    stages = find_roles(graph).stages

    assert [(stage.expert, stage.evidence) for stage in stages] == [
        (Expert.HIGH, "its steps"),
        (Expert.LOW, "its steps"),
    ]


@pytest.mark.parametrize(
    ("name", "expert"),
    [
        ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", Expert.HIGH),
        ("Wan2.2-T2V-A14B-LowNoise-Q4_K_M.gguf", Expert.LOW),
        ("WanVideo/2_2/Wan2_2-I2V-A14B-HIGH_fp8.safetensors", Expert.HIGH),
        ("Wan22_I2V_highV8.safetensors", Expert.HIGH),
        ("low/wan.safetensors", Expert.LOW),
        ("slow_flow_yellow.safetensors", None),
        ("high_and_low.safetensors", None),
        ("wan_lowVRAM_720p.safetensors", None),
        ("high_motion_style.safetensors", None),
        ("wan2.1_t2v_14B_fp16.safetensors", None),
    ],
)
def test_a_files_name_tells_the_expert(name: str, expert: Expert | None) -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    graph["37"]["inputs"]["unet_name"] = name

    assert find_roles(graph).stages[0].by_file is expert


def test_a_sampler_that_takes_both_experts_is_two_stages() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    del graph["58"]
    graph["57"] = node(
        "WanMoeKSampler",
        model_high_noise=["54", 0],
        model_low_noise=["55", 0],
        positive=["6", 0],
        negative=["7", 0],
        latent_image=["59", 0],
        seed=4,
        steps=20,
        cfg=3.5,
    )
    graph["8"]["inputs"]["samples"] = ["57", 0]

    roles = find_roles(graph)

    assert [stage.expert for stage in roles.stages] == [Expert.HIGH, Expert.LOW]
    assert paths(roles, "seed") == ["57.seed"]


def handed_through(class_type: str, slots: tuple[int, int], **models: str) -> dict[str, Any]:
    """A graph whose two models pass one node on their way to the samplers."""
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    graph["90"] = node(class_type, **{name: [source, 0] for name, source in models.items()})
    for sampler, slot in zip(("57", "58"), slots, strict=True):
        graph[sampler]["inputs"]["model"] = ["90", slot]
    return graph


OWN: dict[str, Any] = {
    "ByOrder": {
        "input": {"required": {"first": ["MODEL"], "second": ["MODEL"]}},
        "output": ["MODEL", "MODEL"],
    },
    "ByName": {
        "input": {"required": {"low_model": ["MODEL"], "high_model": ["MODEL"]}},
        "output": ["LATENT", "MODEL", "MODEL"],
        "output_name": ["latent", "model_high", "model_low"],
    },
    "ModelSwitchX": {"input": {"required": {"a": ["MODEL"], "b": ["MODEL"]}}, "output": ["MODEL"]},
    "MergeX": {"input": {"required": {"a": ["MODEL"], "b": ["MODEL"]}}, "output": ["MODEL"]},
}


@pytest.mark.parametrize(
    ("graph", "experts"),
    [
        (handed_through("PainterAI2V", (0, 1), model_low_noise="55", model_high_noise="54"), ["high", "low"]),
        (handed_through("Strange", (0, 1), model_high_noise="54", model_low_noise="55"), ["high", "low"]),
        (handed_through("ByOrder", (0, 1), second="55", first="54"), ["high", "low"]),
        (handed_through("ByOrder", (1, 0), second="55", first="54"), ["low", "high"]),
        (handed_through("ByName", (1, 2), low_model="55", high_model="54"), ["high", "low"]),
        (handed_through("WAN22BlockSwapComboPatcher", (1, 0), model_low="55", model_high="54"), [
            "low", "high"]),
        (handed_through("ModelSwitchX", (0, 0), a="54", b="55"), [None, None]),
        (handed_through("Model Switch Somebody", (0, 0), model_1="54", model_2="55"), [None, None]),
        (handed_through("MergeX", (0, 0), a="54", b="55"), ["high", "high"]),
    ],
)  # fmt: skip
def test_a_node_that_hands_two_models_through_keeps_them_apart(
    graph: dict[str, Any], experts: list[str | None]
) -> None:
    definitions = {**shipped_definitions(), **parse_definitions(OWN)}

    assert [stage.by_file for stage in find_roles(graph, definitions).stages] == experts


@pytest.mark.parametrize(("of_sound", "frames"), [(True, None), (False, 81)])
def test_the_length_of_one_of_two_clips_is_told_only_where_the_other_follows_from_it(
    of_sound: bool, frames: int | None
) -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x", frames=81).graph
    graph["90"] = node("LengthOfSound", audio=["91", 0]) if of_sound else node("Count", images=["8", 0])
    graph["91"] = node("LoadAudio", audio="speech.mp3")
    graph["92"] = node("EmptyHunyuanLatentVideo", width=640, height=640, length=["90", 0], batch_size=1)
    graph["93"] = {**graph["57"], "inputs": {**graph["57"]["inputs"], "latent_image": ["92", 0]}}
    graph["94"] = {**graph["8"], "inputs": {**graph["8"]["inputs"], "samples": ["93", 0]}}
    graph["95"] = node("SaveImage", images=["94", 0], filename_prefix="b")

    assert find_roles(graph).value("frames") == frames


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        (node("PreviewAny", source=["8", 0]), False),
        (node("easy cleanGpuUsed", anything=["8", 0]), False),
        (node("LayerUtility: PurgeVRAM", anything=["8", 0], purge_cache=True, purge_models=True), False),
        (node("VRAM_Debug", empty_cache=True, gc_collect=True, image_pass=["8", 0]), False),
        (node("DummyOut", any=["8", 0]), False),
        (node("ShowText|pysssss", text=["6", 0]), False),
        (node("easy showAnything", anything=["8", 0]), False),
        (node("easy imageSave", images=["8", 0], image_output="Preview"), False),
        (node("VHS_VideoCombine", images=["8", 0], frame_rate=16), True),
        (node("VHS_VideoCombine", images=["8", 0], frame_rate=16, save_output=False), False),
        (node("SomebodysWriter", images=["8", 0]), True),
        (node("TextWriter", text="a", filename_prefix="x"), True),
    ],
)
def test_an_output_keeps_what_it_makes_only_where_it_makes_a_file(output: dict[str, Any], kept: bool) -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph | {"90": output}
    own = {output["class_type"]: {"input": {}, "output": [], "output_node": True}}
    outputs = find_roles(graph, parse_definitions(own)).outputs

    assert [each.saves for each in outputs if each.node_id == "90"] == [kept]


def test_nodes_that_feed_no_output_have_no_role() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    graph["300"] = node("KSampler", model=["54", 0], seed=9, steps=3)

    roles = find_roles(graph)

    assert "300" not in roles.running
    assert len(roles.stages) == 2


def test_definitions_tell_what_the_names_of_an_unknown_class_do_not() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    graph["54"] = node("SomebodysPatch", transformer=["37", 0])
    own = {"SomebodysPatch": {"input": {"required": {"transformer": ["MODEL"]}}, "output": ["MODEL"]}}
    definitions = {**shipped_definitions(), **parse_definitions(own)}

    assert find_roles(graph).stages[0].by_file is None
    assert find_roles(graph, definitions).stages[0].by_file is Expert.HIGH


def test_an_end_image_and_a_control_video_have_roles_of_their_own() -> None:
    graph = a14b_by_switches()
    graph["98"]["inputs"] |= {"end_image": ["400", 0], "control_video": ["402", 0]}
    graph["400"] = node("ImageScale", image=["401", 0], width=640, height=640)
    graph["401"] = node("LoadImage", image="end.png")
    graph["402"] = node("GetVideoComponents", video=["403", 0])
    graph["403"] = node("LoadVideo", file="dance.mp4")

    roles = find_roles(graph)

    assert paths(roles, "start_image") == ["97.image"]
    assert paths(roles, "end_image") == ["401.image"]
    assert paths(roles, "control_video") == ["403.file"]
    assert roles.upscalers == ()  # a picture that is made smaller on its way in is no upscaling


def test_a_circle_of_switches_ends() -> None:
    graph = a14b_by_switches()
    graph["131"]["inputs"]["value"] = ["500", 0]
    graph["500"] = node("Reroute", value=["131", 0])

    roles = find_roles(graph)

    assert roles.value("cfg") is None
    assert all(stage.loader is None for stage in roles.stages)


def test_a_long_chain_is_read_without_recursion() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    for number in range(1000, 2900):
        graph[str(number)] = node("SomePatch", model=[str(number - 1), 0] if number > 1000 else ["37", 0])
    graph["54"]["inputs"]["model"] = ["2899", 0]

    assert find_roles(graph).stages[0].by_file is Expert.HIGH


@pytest.mark.parametrize(
    ("name", "experts", "size", "fps"),
    [
        ("core_t2v_a14b", "high low", (832, 480, 81), 16),
        ("core_i2v_a14b_lightning", "high low", (640, 640, 81), 16),
        ("core_i2v_six_steps_dotted_codec", "high low", (640, 640, 81), 16),
        ("core_i2v_wan21_clip_vision", "single", (512, 512, 33), 16),
        ("core_s2v_two_chunks", "single single", (640, 640, 77), 16),
        ("core_ti2v_5b", "single", (1280, 704, 121), 24),
        ("core_vace_reference", "single", (720, 720, 49), 16),
        ("distorch2_double_unet", "high low", (832, 480, 81), 16),
        ("gguf_rife_script", "high low", (480, 832, 81), 32),
        ("multigpu_wrapper_i2v_a14b_gguf", "high low", (832, 480, 81), 16),
        ("wrapper_i2v_a14b_context_windows", "high low", (480, 832, 241), 16),
        ("wrapper_infinitetalk_single", "single", (640, 640, None), 25),
    ],
)
def test_public_graphs_are_read_whole(
    name: str, experts: str, size: tuple[int | None, ...], fps: float
) -> None:
    roles = find_roles(public(name))

    assert " ".join(stage.expert for stage in roles.stages) == experts
    assert (roles.value("width"), roles.value("height"), roles.value("frames")) == size
    assert roles.value("fps") == fps
    assert isinstance(roles.value("prompt"), str)
    assert isinstance(roles.value("negative"), str)
    assert isinstance(roles.value("seed"), int)
    loaders = [*(stage.loader for stage in roles.stages), *roles.text_encoders, *roles.vaes]
    assert all(each is not None and each.file is not None and each.file.value for each in loaders)
    assert all(stage.steps_run for stage in roles.stages)
    assert roles.decodes
    assert any(each.saves for each in roles.outputs)


@pytest.mark.parametrize(
    ("name", "role", "path"),
    [
        ("core_s2v_two_chunks", "audio", "7.audio"),
        ("core_s2v_two_chunks", "ref_image", "9.image"),
        ("core_vace_reference", "reference_image", "8.image"),
        ("wrapper_infinitetalk_single", "audio", "9.audio"),
        ("wrapper_infinitetalk_single", "start_image", "8.image"),
        ("multigpu_wrapper_i2v_a14b_gguf", "start_image", "13.image"),
    ],
)
def test_files_that_come_in_have_the_role_of_where_they_arrive(name: str, role: str, path: str) -> None:
    assert paths(find_roles(public(name)), role) == [path]


def test_a_cfg_that_a_node_makes_for_each_step_is_computed() -> None:
    high, low = find_roles(public("wrapper_i2v_a14b_context_windows")).of("cfg")

    assert (high.is_computed, high.value) == (True, None)
    assert (low.is_computed, low.value) == (False, 1.0)


def test_a_sampler_that_loops_over_a_long_clip_is_a_stage_and_tells_the_size_of_a_piece() -> None:
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "wan2.1_14B_SCAIL_2.safetensors"}},
        "2": {
            "class_type": "SomebodysAutoExtendSampler",
            "inputs": {
                "model": ["1", 0], "positive": ["3", 0], "width": 640, "height": 960, "chunk_length": 81,
                "steps": 6, "cfg": 1.0,
            },
        },
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}},
        "4": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0]}},
    }  # fmt: skip

    roles = find_roles(graph, shipped_definitions())

    assert [stage.whole("steps") for stage in roles.stages] == [6]
    assert (roles.value("width"), roles.value("height")) == (640, 960)
    assert roles.of("frames") == ()


def test_a_latent_of_so_many_seconds_has_a_size_and_a_bound_of_its_frames() -> None:
    known = parse_definitions(
        {
            "SomebodysKeyframes": {
                "input": {
                    "required": {"width": ["INT"], "height": ["INT"], "fps": ["INT"], "seconds": ["INT"]}
                },
                "output": ["LATENT"],
            }
        }
    )
    given = {"width": 560, "height": 560, "fps": 16, "seconds": 2}

    roles = find_roles({"1": {"class_type": "SomebodysKeyframes", "inputs": given}}, known)

    assert (roles.value("width"), roles.value("height"), roles.value("frames")) == (560, 560, None)
    assert [each.frames.at_most for each in roles.sizes] == [33]


def test_a_latent_of_one_picture_is_a_clip_of_one_frame_that_no_input_says() -> None:
    given = {"width": 1024, "height": 768, "batch_size": 1}

    roles = find_roles({"1": {"class_type": "EmptyLatentImage", "inputs": given}}, shipped_definitions())

    assert (roles.value("width"), roles.value("height")) == (1024, 768)
    assert roles.of("frames") == ()
    assert [each.frames.whole for each in roles.sizes] == [1]


def test_where_a_picture_is_encoded_to_be_sampled_its_size_is_the_clips() -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "start.png"}},
        "2": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], "width": 832, "height": 480}},
        "3": {"class_type": "WanVideoEncode", "inputs": {"image": ["2", 0], "vae": ["9", 0]}},
        "4": {"class_type": "WanVideoSomebodysEmbeds", "inputs": {"num_frames": 93, "latents": ["3", 0]}},
    }

    roles = find_roles(graph, shipped_definitions())

    assert [(size.width.whole, size.height.whole, size.frames.whole) for size in roles.sizes] == [
        (832, 480, 93)
    ]
    assert str(roles.of("width")[0].set_at) == "2.width"
