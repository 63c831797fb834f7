from __future__ import annotations

import json
from typing import Any

import pytest

from comfy.errors import UnknownMessage
from comfy.generations import GENERATIONS, Generation
from comfy.node_defs.definitions import (
    NodeDef,
    Section,
    definitions_to_json,
    node_to_json,
    parse_definitions,
    parse_node,
    shipped_definitions,
    with_choices,
)
from tests.support.model_inputs import model_inputs

_OLD_STYLE: dict[str, Any] = {
    "input": {
        "required": {
            "vae_name": [["a.safetensors", "b.safetensors"]],
            "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
            "model": ["MODEL"],
        },
        "optional": {"device": [["default", "cpu"], {"advanced": True}]},
        "hidden": {"unique_id": "UNIQUE_ID", "prompt": ["PROMPT"]},
    },
    "input_order": {
        "required": ["vae_name", "steps", "model"],
        "optional": ["device"],
        "hidden": ["unique_id", "prompt"],
    },
    "output": ["VAE", ["x", "y"]],
    "output_is_list": [False, True],
    "output_name": ["VAE", "choice"],
    "name": "Loader",
    "display_name": "Load it",
    "python_module": "nodes",
    "category": "loaders",
    "output_node": True,
}


def test_both_spellings_of_choices_are_read() -> None:
    new_style = {
        "input": {"required": {"format": ["COMBO", {"options": ["auto", "mp4"], "default": "auto"}]}}
    }

    old = parse_node("Loader", _OLD_STYLE).input("vae_name")
    new = parse_node("Saver", new_style).input("format")

    assert old is not None
    assert new is not None
    assert (old.kind, old.choices, old.is_old_combo) == ("COMBO", ("a.safetensors", "b.safetensors"), True)
    assert (new.kind, new.choices, new.is_old_combo) == ("COMBO", ("auto", "mp4"), False)
    assert new.default == "auto"


def test_ranges_sections_and_outputs_are_read() -> None:
    node = parse_node("Loader", _OLD_STYLE)

    steps = node.input("steps")
    assert steps is not None
    assert (steps.kind, steps.minimum, steps.maximum, steps.default) == ("INT", 1, 10000, 20)
    assert [i.name for i in node.of(Section.OPTIONAL)] == ["device"]
    assert [i.kind for i in node.of(Section.HIDDEN)] == ["UNIQUE_ID", "PROMPT"]
    assert [(o.kind, o.is_list) for o in node.outputs] == [("VAE", False), ("COMBO", True)]
    assert node.output_node


def test_a_hidden_input_is_none_that_a_graph_may_set() -> None:
    assert parse_node("Loader", _OLD_STYLE).input("unique_id") is None


def test_a_definition_goes_back_to_the_json_it_came_from() -> None:
    assert node_to_json(parse_node("Loader", _OLD_STYLE)) == _OLD_STYLE


@pytest.mark.parametrize("generation", GENERATIONS, ids=str)
def test_shipped_definitions_go_through_json_unchanged(generation: Generation) -> None:
    shipped = shipped_definitions(generation, files={"vae": ["x.safetensors"]})

    again = parse_definitions(json.loads(json.dumps(definitions_to_json(shipped))))

    assert again == shipped


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"input": None, "output": None},
        {"input": {"required": ["not", "a", "mapping"]}},
        {
            "input": {"required": {"a": [], "b": None, "c": 5, "d": [7], "e": [None, "x"]}},
            "output": [5, None],
        },
        {"input": {"optional": {"a": ["COMBO"], "b": ["COMBO", {"options": "x"}]}}, "output_name": 3},
    ],
)
def test_a_careless_custom_node_does_not_spoil_the_rest(info: dict[str, Any]) -> None:
    definitions = parse_definitions({"Careless": info, "Broken": 5, "Loader": _OLD_STYLE})

    assert definitions["Loader"].input("steps") is not None
    assert "Broken" not in definitions
    json.dumps(node_to_json(definitions["Careless"]))


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(UnknownMessage, match="object_info"):
        parse_definitions(body)


@pytest.mark.parametrize("generation", GENERATIONS, ids=str)
def test_every_node_of_a_wan_graph_is_shipped(generation: Generation) -> None:
    wanted = {
        "UNETLoader", "CLIPLoader", "VAELoader", "CLIPTextEncode", "ModelSamplingSD3", "KSampler",
        "KSamplerAdvanced", "EmptyHunyuanLatentVideo", "WanImageToVideo", "WanFirstLastFrameToVideo",
        "Wan22ImageToVideoLatent", "CLIPVisionLoader", "CLIPVisionEncode", "LoraLoaderModelOnly",
        "LoraLoader",
        "VAEDecode", "VAEDecodeTiled", "CreateVideo", "SaveVideo", "SaveWEBM", "SaveAnimatedWEBP",
        "LoadImage",
        "SaveImage", "PreviewImage", "ImageScale", "ImageFromBatch", "PrimitiveInt", "PrimitiveFloat",
        "PrimitiveString", "PrimitiveBoolean", "PrimitiveStringMultiline", "VHS_VideoCombine",
        "UnetLoaderGGUF", "RIFE VFI",
    }  # fmt: skip

    assert wanted <= shipped_definitions(generation).keys()


def test_without_a_list_of_files_no_file_name_is_known() -> None:
    shipped = shipped_definitions()

    assert model_inputs()["WanVideoModelLoader", "model"] == ("unet_gguf", "diffusion_models")
    for class_type, name in model_inputs():
        wanted = shipped[class_type].input(name)
        assert wanted is not None
        assert wanted.choices is None


def test_files_become_the_choices_of_their_loaders() -> None:
    shipped = shipped_definitions(files={"vae": ["x.safetensors"], "loras": ["l.safetensors"]})

    vae = shipped["VAELoader"].input("vae_name")
    lora = shipped["LoraLoader"].input("lora_name")
    unet = shipped["UNETLoader"].input("unet_name")
    assert vae is not None
    assert lora is not None
    assert unet is not None
    assert vae.choices == ("x.safetensors", "pixel_space")
    assert lora.choices == ("l.safetensors",)
    assert unet.choices == ()


def test_choices_are_exchanged_on_a_copy() -> None:
    old = parse_node("Loader", _OLD_STYLE)

    new = with_choices(old, "vae_name", ["c"])

    assert node_to_json(old) == _OLD_STYLE
    assert node_to_json(new)["input"]["required"]["vae_name"] == [["c"]]


def test_inputs_that_take_uploads_are_known() -> None:
    image = shipped_definitions()["LoadImage"].input("image")

    assert image is not None
    assert image.is_upload


def test_only_the_nodes_that_are_asked_for_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(class_type: str, info: Any) -> NodeDef:
        read.append(class_type)
        return parse_node(class_type, info)

    monkeypatch.setattr("comfy.node_defs.definitions.parse_node", noted)
    known = parse_definitions({name: {"input": {"required": {}}} for name in "abc"} | {"d": "no node"})

    assert (len(known), list(known), "b" in known, "d" in known) == (3, ["a", "b", "c"], True, False)
    assert read == []
    assert known["b"] is known["b"]
    assert known.get("d") is None
    assert read == ["b"]


def test_the_servers_own_order_of_inputs_counts_before_that_of_the_object() -> None:
    info = {
        "input": {"required": {"batch_size": ["INT"], "height": ["INT"], "width": ["INT"], "late": ["INT"]}},
        "input_order": {"required": ["width", "height", "batch_size", "gone"]},
    }

    assert [each.name for each in parse_node("EmptyImage", info).inputs] == [
        "width", "height", "batch_size", "late",
    ]  # fmt: skip
