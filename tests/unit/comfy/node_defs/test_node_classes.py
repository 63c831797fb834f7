"""The table of node classes, held against what real servers say of their nodes, and those who ask it."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.generations import GENERATIONS
from comfy.graphs.path_gate import path_problems
from comfy.graphs.required import input_files, is_output, model_files, output_nodes
from comfy.graphs.values import literal
from comfy.judging.validation import validate
from comfy.node_defs.definitions import Definitions, NodeDef, parse_node, shipped_definitions
from comfy.node_defs.node_classes import (
    CLASSES,
    FIRST_INPUT,
    NodeClass,
    Work,
    base_class,
    model_folder,
    node_class,
    work_of,
)
from comfy.node_defs.snapshot import pack_forms, pack_rows, sources_of
from comfy.wan.roles import find_roles
from tests.support.model_inputs import model_inputs
from tests.support.tables import for_each

LOADERS = [(name, row.input_file) for name, row in CLASSES.items() if row.input_file]
OUTPUTS = [name for name, row in CLASSES.items() if row.is_output]


def known_anywhere() -> Definitions:
    """Every class that any generation's facts name, and those of the table that packs' facts do."""
    known: dict[str, NodeDef] = {}
    for generation in GENERATIONS:
        known.update(shipped_definitions(generation))
    of_packs = shipped_definitions()
    return {name: of_packs[name] for name in CLASSES if name in of_packs} | known


KNOWN = known_anywhere()


def named_inputs(row: NodeClass) -> set[str]:
    """The inputs that a row names. Models under ComfyUI's usual names are those of every class."""
    of_models = {} if row.models is NodeClass().models else row.models
    single = (row.input_file, row.any_file, row.rate)
    inputs = {*of_models, *row.hands_on.values(), *(name for name in single if name is not None)}
    inputs |= {*(row.sized_by or ()), *(each for side in row.padded_by or () for each in side)}
    inputs |= {
        each for _, names in row.picks.values() if not isinstance(names, str) for each in names.values()
    }
    inputs |= {each for each in (row.sends, row.scaled_by) if each is not None}
    inputs |= {each for each in (row.multiple, row.exact_when and row.exact_when[0]) if each is not None}
    if row.is_switch:
        inputs |= {"switch", "on_true", "on_false"}
    if row.variables is not None:
        inputs.add(row.formula)
    return inputs - {FIRST_INPUT}


@for_each("name", [name for name in CLASSES if name in KNOWN])
def test_a_row_names_inputs_and_outputs_that_the_class_has(name: str) -> None:
    row, definition = CLASSES[name], KNOWN[name]

    assert {each for each in named_inputs(row) if definition.input(each) is None} == set()
    assert row.is_output == definition.output_node
    assert all(slot < len(definition.outputs) for slot in (*row.hands_on, *row.tells_side))


@for_each(
    "name, input_name, folders",
    [(*place, folders) for place, folders in model_inputs().items() if model_folder(*place)],
)
def test_a_model_is_looked_for_in_a_folder_from_which_the_server_offers_it(
    name: str, input_name: str, folders: tuple[str, ...]
) -> None:
    of_gguf = {"unet_gguf": "diffusion_models", "clip_gguf": "text_encoders"}

    assert model_folder(name, input_name) in {of_gguf.get(folder, folder) for folder in folders}


def models_of_the_wrapper() -> dict[tuple[str, str], str]:
    """(class, input) -> folder, of each model that the wrapper for WAN looks for in a single one."""
    return {
        (name, each.name): folders[0]
        for name, rows in pack_rows().items()
        if rows[0][0] == "custom_nodes.ComfyUI-WanVideoWrapper"
        for each in parse_node(name, pack_forms(name)[0]).inputs
        if len(folders := sources_of(each.choices)) == 1 and folders[0] not in ("devices", "unknown")
    }


@pytest.mark.parametrize(("place", "folder"), models_of_the_wrapper().items())
def test_the_folder_of_each_loader_of_the_wrapper_is_known(place: tuple[str, str], folder: str) -> None:
    assert model_folder(*place) == folder


def test_most_of_the_table_is_held_against_real_servers() -> None:
    unseen = {name for name in CLASSES if name not in KNOWN}

    assert len(unseen) < len(CLASSES) / 4, sorted(unseen)


@pytest.mark.parametrize(("name", "input_name"), LOADERS)
def test_whoever_asks_for_files_of_a_job_finds_every_loader(name: str, input_name: str) -> None:
    def graph(file: str) -> dict[str, Any]:
        return {
            "1": {"class_type": name, "inputs": {input_name: file}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
        }

    assert [(each.node_id, each.input_name) for each in input_files(graph("a.png"))] == [("1", input_name)]
    assert path_problems(graph("a.png")) == ()
    assert [each.node_id for each in path_problems(graph("../a.png"))] == ["1"]
    asked = {str(each.asked) for found in find_roles(graph("a.png")).settings.values() for each in found}
    assert f"1.{input_name}" in asked


@pytest.mark.parametrize("name", [name for name, row in CLASSES.items() if row.refusal and name in KNOWN])
def test_a_class_that_looks_itself_for_its_file_refuses_one_that_is_not_there(name: str) -> None:
    graph = {
        "1": {"class_type": name, "inputs": {CLASSES[name].input_file: "gone.bin"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }

    problems = validate(graph, KNOWN, input_file_exists=lambda _: False).problems

    assert ("1", "custom_validation_failed") in {(each.node_id, each.kind) for each in problems}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_is_known_by_its_class_and_saves_what_it_shows(name: str) -> None:
    graph = {"1": {"class_type": name, "inputs": {}}}

    assert output_nodes(graph) == ["1"]
    keeps = not CLASSES[name].only_shows and name != "PreviewAny"  # which shows a text
    assert find_roles(graph).outputs[0].saves == keeps


def test_a_definition_counts_for_more_than_the_table() -> None:
    graph = {"1": {"class_type": "SaveNothing", "inputs": {}}, "2": {"class_type": "Quiet", "inputs": {}}}
    told = {
        "SaveNothing": NodeDef(class_type="SaveNothing", inputs=(), outputs=(), output_node=False),
        "Quiet": NodeDef(class_type="Quiet", inputs=(), outputs=(), output_node=True),
    }

    assert output_nodes(graph) == ["1"]
    assert output_nodes(graph, told) == ["2"]
    assert [each.node_id for each in find_roles(graph, told).outputs] == ["2"]


@pytest.mark.parametrize("suffix", ["MultiGPU", "DisTorchMultiGPU", "DisTorch2MultiGPU"])
def test_what_multi_gpu_wraps_goes_by_the_class_within(suffix: str) -> None:
    name = f"WanVideoVAELoader{suffix}"
    graph = {"1": {"class_type": name, "inputs": {"model_name": "v.pt"}}}

    assert base_class(name) == "WanVideoVAELoader"
    assert node_class(name) is CLASSES["WanVideoVAELoader"]
    assert [file.folder for file in model_files(graph)] == ["vae"]


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("KSamplerAdvanced", Work.SAMPLE),
        ("KSamplerSelect", Work.OTHER),
        ("WanVideoDecode", Work.VAE),
        ("SaveSomethingNew", Work.SAVE),
        ("PreviewImage", Work.SAVE),
        ("Image Save", Work.SAVE),
        ("Whatever", Work.OTHER),
    ],
)
def test_the_work_of_a_class_is_told_by_its_name_or_its_row(name: str, work: Work) -> None:
    assert work_of(name) is work


def test_a_value_goes_through_a_node_that_throws_models_out() -> None:
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"steps": ["2", 0]}},
        "2": {"class_type": "UnloadModel", "inputs": {"value": ["3", 0]}},
        "3": {"class_type": "PrimitiveInt", "inputs": {"value": 20}},
    }

    assert literal(graph, "1", "steps") == 20
    assert not is_output(graph, "2")
