from __future__ import annotations

from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy.errors import GraphError
from comfy.generations import GENERATIONS, Generation
from comfy.graphs.graph import check_graph, nodes_of_class
from comfy.graphs.required import model_files, output_nodes
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.wan.find import clip_size, describe
from comfy.wan.roles import find_roles
from comfy.wan.sizes import FRAMES, SIDES, SIDES_5B, Grid
from comfy.wan.templates import TEMPLATES, Template, get_template
from tests.support.tables import for_each

T2V = get_template("wan22-t2v-a14b")
SECRET = "a prompt that nobody else may read"


def faults_of(**given_values: Any) -> dict[str, str]:
    with pytest.raises(GraphError) as caught:
        T2V.build(**given_values)
    return {problem.kind: problem.message for problem in caught.value.problems}


def test_the_template_builds_a_sound_graph_of_core_nodes() -> None:
    built = T2V.build(prompt=SECRET, seed=7)

    check_graph(built.graph)
    assert output_nodes(built.graph) == ["61"]
    assert len(nodes_of_class(built.graph, "UNETLoader", "KSamplerAdvanced", "ModelSamplingSD3")) == 6
    assert built.graph["6"]["inputs"]["text"] == SECRET
    assert built.graph["57"]["inputs"]["noise_seed"] == 7


def test_the_quality_preset_is_the_official_one() -> None:
    graph = T2V.build(prompt="x").graph
    high, low = graph["57"]["inputs"], graph["58"]["inputs"]

    assert (high["steps"], high["end_at_step"], high["cfg"]) == (20, 10, 3.5)
    assert (low["steps"], low["start_at_step"], low["cfg"]) == (20, 10, 3.5)
    assert graph["54"]["inputs"]["shift"] == graph["55"]["inputs"]["shift"] == 8.0
    assert nodes_of_class(graph, "LoraLoaderModelOnly") == []


def test_the_fast_preset_puts_the_matching_lora_behind_each_expert() -> None:
    graph = T2V.build(prompt="x", preset="fast").graph

    for shift_node, noise in (("54", "high_noise"), ("55", "low_noise")):
        lora = graph[graph[shift_node]["inputs"]["model"][0]]
        expert = graph[lora["inputs"]["model"][0]]
        assert lora["class_type"] == "LoraLoaderModelOnly"
        assert noise in lora["inputs"]["lora_name"]
        assert noise in expert["inputs"]["unet_name"]
        assert graph[shift_node]["inputs"]["shift"] == 5.0
    assert (graph["57"]["inputs"]["cfg"], graph["57"]["inputs"]["end_at_step"]) == (1.0, 2)
    assert len([file for file in model_files(graph) if file.folder == "loras"]) == 2


def test_a_given_value_wins_over_the_preset() -> None:
    built = T2V.build(prompt="x", preset="draft", width="640", steps=6, fps=24)

    assert built.graph["59"]["inputs"] == {"width": 640, "height": 272, "length": 33, "batch_size": 1}
    assert (built.graph["57"]["inputs"]["end_at_step"], built.graph["58"]["inputs"]["start_at_step"]) == (
        3,
        3,
    )
    assert built.graph["60"]["inputs"]["fps"] == 24.0


def test_the_title_says_what_is_made_and_never_the_prompt() -> None:
    built = T2V.build(prompt=SECRET, negative=SECRET)

    assert built.title == "WAN 2.2 T2V A14B 832×480 81f 20 steps"


def test_a_seed_is_drawn_and_told_when_none_is_given() -> None:
    one, other = T2V.build(prompt="x"), T2V.build(prompt="x")

    assert one.parameters["seed"] != other.parameters["seed"]
    assert one.graph["57"]["inputs"]["noise_seed"] == one.parameters["seed"]
    assert T2V.build(prompt="x", seed=0).parameters["seed"] == 0


def test_building_twice_gives_graphs_that_share_nothing() -> None:
    one, other = T2V.build(prompt="x", seed=1), T2V.build(prompt="y", seed=1)

    assert one.graph["6"]["inputs"]["text"] == "x"
    assert other.graph["6"]["inputs"]["text"] == "y"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("width", 833, "832 or 848"),
        ("width", 100_000_000, "nearest that WAN takes: 2048"),
        ("height", -480, "nearest that WAN takes: 64"),
        ("height", 0, "multiple of 16"),
        ("frames", 80, "77 or 81"),
        ("frames", 0, "nearest that WAN takes: 1"),
        ("frames", True, "not a whole number"),
        ("frames", 81.5, "not a whole number"),
        ("frames", "many", "not a whole number"),
        ("fps", 0, "between 1 and 120"),
        ("fps", float("nan"), "not a number"),
        ("seed", -1, "between 0 and 18446744073709551615"),
        ("seed", 2**64, "between 0 and 18446744073709551615"),
        ("steps", 1, "between 2 and 100"),
        ("preset", "best", "quality, fast, draft"),
        ("prompt", 5, "no text"),
        ("prompt", "a\0b", "NUL"),
    ],
)
def test_a_value_that_wan_does_not_take_is_refused_with_words_that_help(
    name: str, value: Any, words: str
) -> None:
    message = faults_of(**{"prompt": "x", name: value})["bad_parameter"]

    assert f"parameter {name}: " in message
    assert words in message


def test_unknown_and_missing_parameters_are_named_at_once() -> None:
    faults = faults_of(hight=480)

    assert "did you mean height?" in faults["unknown_parameter"]
    assert "fps" in faults["unknown_parameter"]
    assert "prompt" in faults["missing_parameter"]


def test_an_unknown_template_names_those_there_are() -> None:
    with pytest.raises(GraphError, match="wan22-t2v-a14b"):
        get_template("wan22-t2v")


@for_each("generation", GENERATIONS)
@for_each("template, preset", [(each, preset) for each in TEMPLATES.values() for preset in each.presets])
def test_every_preset_of_every_template_is_a_graph_that_comfyui_takes(
    template: Template, preset: str, generation: Generation
) -> None:
    graph = template.example(preset=preset)

    check_graph(graph)
    verdict = validate(
        graph, shipped_definitions(generation), generation=generation, input_file_exists=lambda _: True
    )
    assert verdict.problems == ()
    lora_files = [file.name for file in model_files(graph) if file.folder == "loras"]
    assert lora_files == list(template.presets[preset].loras)


MINE = "style_HighNoise.safetensors:0.8, styles/style_low_noise.safetensors, C64: both.safetensors:-1.5"


@for_each("generation", GENERATIONS)
@for_each("template, preset", [(each, preset) for each in TEMPLATES.values() for preset in each.presets])
def test_loras_of_ones_own_reach_the_expert_they_are_for_behind_those_of_the_preset(
    template: Template, preset: str, generation: Generation
) -> None:
    graph = template.example(preset=preset, loras=MINE)

    definitions = shipped_definitions(generation)
    assert not validate(graph, definitions, generation=generation, input_file_exists=lambda _: True).problems
    mine = {"style_HighNoise.safetensors": 0.8, "styles/style_low_noise.safetensors": 1.0}
    both = {"C64: both.safetensors": -1.5}
    for stage, few_step in zip_longest(find_roles(graph, definitions).stages, template.presets[preset].loras):
        of = {"high": [*mine][:1], "low": [*mine][1:], "single": [*mine]}[stage.expert]
        expected = {few_step: 1.0} if few_step else {}
        expected |= {name: mine[name] for name in of} | both
        assert {lora.file.value: lora.strength and lora.strength.value for lora in stage.loras} == expected


@pytest.mark.parametrize("text", ["", " ", None])
def test_no_lora_is_none(text: str | None) -> None:
    assert T2V.build(prompt="x", seed=1, loras=text).graph == T2V.build(prompt="x", seed=1).graph


@pytest.mark.parametrize(
    "text", ["a.safetensors,", ":0.5", "a.safetensors:101", "a.safetensors:-1e9", ",", "9" * 20_000]
)
def test_loras_that_cannot_be_read_are_refused_by_their_part(text: str) -> None:
    assert "FILE:STRENGTH" in faults_of(prompt="x", loras=text)["bad_parameter"]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_a_template_writes_where_the_roles_of_its_graph_are(template: Template) -> None:
    built = template.build(**{each.name: "x" for each in template.parameters if each.required})

    roles = find_roles(built.graph, shipped_definitions())

    assert get_template(template.name) is template
    for name, input_paths in template.inputs.items():
        found = {(each.set_at.node_id, each.set_at.input_name) for each in roles.of(name)}
        assert found <= set(input_paths)
        assert found or name == "split"
        if name in built.parameters:
            assert roles.value(name) == built.parameters[name]
    pictures = [str(each.set_at) for role in ("start_image", "end_image") for each in roles.of(role)]
    assert pictures == list(built.files)
    experts = ["high", "low"] if "split" in template.inputs else ["single"]
    assert [stage.expert for stage in roles.stages] == experts
    assert sum(stage.steps_run or 0 for stage in roles.stages) == template.presets["quality"].steps


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_a_template_asks_for_its_pictures_and_hands_them_on(template: Template) -> None:
    needed = {name for name, picture in template.pictures.items() if picture.arrives is None}

    if needed:
        with pytest.raises(GraphError) as caught:
            template.build(prompt="x")
        told = {problem.message.split()[1].rstrip(":") for problem in caught.value.problems}
        assert told == needed
    built = template.build(prompt="x", **dict.fromkeys(template.pictures, "a.png"))
    assert set(built.files) == {f"{picture.node_id}.image" for picture in template.pictures.values()}


def test_the_5b_template_makes_a_clip_of_text_alone_or_of_an_image() -> None:
    template = get_template("wan22-ti2v-5b")

    of_text, of_image = template.build(prompt="x"), template.build(prompt="x", image=b"png")

    assert nodes_of_class(of_text.graph, "LoadImage") == []
    assert "start_image" not in of_text.graph["40"]["inputs"]
    assert of_image.graph["40"]["inputs"]["start_image"] == ["56", 0]
    assert of_image.files == {"56.image": b"png"}
    with pytest.raises(GraphError, match="704 or 736"):
        template.build(prompt="x", height=720)


def test_sizes_are_snapped_when_that_is_asked() -> None:
    built = T2V.build(prompt="x", width=833, height="700", frames=80, snap="true")

    assert (built.graph["59"]["inputs"]["width"], built.graph["59"]["inputs"]["height"]) == (832, 704)
    assert built.parameters["frames"] == 81


@pytest.mark.parametrize("grid", [SIDES, SIDES_5B, FRAMES])
@given(value=st.integers(-10_000, 10_000))
def test_the_nearest_values_named_are_themselves_valid(grid: Grid, value: int) -> None:
    near = grid.neighbours(value)

    assert near
    assert all(grid.fault(each) is None for each in near)
    assert grid.fault(grid.snap(value)) is None
    assert abs(grid.snap(value) - value) <= min(abs(each - value) for each in near)


def test_a_plain_graph_is_described_by_what_it_makes() -> None:
    def node(class_type: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": class_type, "inputs": inputs}

    graph = {
        "1": node("WanVideoModelLoader", model="WanVideo\\Wan2_1-I2V-14B-480P_fp8.safetensors"),
        "2": node("WanVideoImageToVideoEncode", width=["9", 0], height=480, num_frames=81),
        "3": node("WanVideoSampler", model=["1", 0], image_embeds=["2", 0], steps=30),
        "4": node("VHS_VideoCombine", images=["3", 0]),
        "9": node("INTConstant", value=832),
    }

    assert describe(graph) == "WAN 2.1 I2V 14B 832×480 81f 30 steps"
    assert describe({"1": node("Any")}) == "graph of 1 nodes"


def test_steps_hidden_behind_a_computed_link_are_not_guessed() -> None:
    graph = T2V.build(prompt="x").graph
    graph["57"]["inputs"]["steps"] = ["8", 0]

    assert "steps" not in describe(graph)
    assert clip_size(find_roles(graph)) is not None
