from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from comfy.generations import Generation
from comfy.node_defs.definitions import shipped_definitions
from comfy.node_defs.snapshot import (
    FOLDER,
    PACKS_FOLDER,
    filled,
    pack_forms,
    pack_rows,
    shipped_nodes,
    sources_of,
)
from tests.support.tables import for_each

_FILES = sorted(FOLDER.rglob("*.json"))
_TEXTS = {"tooltip", "description", "placeholder", "display_name", "output_tooltips"}
_MODEL_ENDINGS = (".safetensors", ".gguf", ".ckpt", ".sft")


def _walk(value: Any) -> Iterator[tuple[str | None, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield None, item
            yield from _walk(item)


@for_each("path", _FILES)
def test_a_file_of_facts_names_its_source_and_holds_no_texts(path: Any) -> None:
    file = json.loads(path.read_text(encoding="utf-8"))

    assert file["source"]
    assert file["nodes"]
    for node in file["nodes"].values():
        for key, _ in _walk(node):
            assert key not in _TEXTS


@for_each("path", _FILES)
def test_no_model_file_of_any_machine_is_shipped(path: Any) -> None:
    names = [value for _, value in _walk(json.loads(path.read_text(encoding="utf-8"))["nodes"])]

    assert not [name for name in names if isinstance(name, str) and name.endswith(_MODEL_ENDINGS)]


def test_a_source_is_filled_with_what_it_holds() -> None:
    choices = ["none", "@loras", "@vae"]

    assert sources_of(choices) == ("loras", "vae")
    assert filled(choices, {"loras": ["a.safetensors"]}) == ("none", "a.safetensors")
    assert filled(choices, None) is None


def test_written_out_choices_have_no_source() -> None:
    assert sources_of(["sdpa", "comfy", 128]) == ()


def test_a_core_has_the_nodes_of_its_generation_and_no_later_ones() -> None:
    older, newest = (shipped_definitions(Generation.named(name)) for name in ("0.12.1", "0.33.0"))

    assert "ComfyMathExpression" in newest
    assert "ComfyMathExpression" not in older
    assert "StartLoop" in shipped_definitions()
    assert "StartLoop" not in newest
    assert "WanVideoSampler" in shipped_nodes(["core-0.3.64"])


@for_each(
    "class_type",
    [
        "WanVideoModelLoader", "WanVideoSampler", "WanVideoSetLoRAs", "WanVideoSamplerMultiGPU",
        "UnetLoaderGGUFDisTorch2MultiGPU", "GGUFLoaderKJ", "PathchSageAttentionKJ", "RIFE VFI",
        "VHS_VideoCombine", "MultiTalkWav2VecEmbeds", "WanVideoContextOptions", "WanAnimate2ToVideo",
        "WanVideoApplyNAG", "HuMoEmbeds", "WanMoEScheduler", "ResolutionMaster", "PgLazyPromptMini",
        "ClownsharKSampler_Beta", "FastFilmGrain", "ComfyUI_Power_Flow.Int", "Int", "Text Multiline",
    ],
)  # fmt: skip
def test_the_packs_that_wan_graphs_use_are_shipped(class_type: str) -> None:
    assert class_type in shipped_definitions()


def test_devices_are_not_judged_without_a_machine_and_are_with_one() -> None:
    without = shipped_definitions()["UNETLoaderMultiGPU"].input("device")
    given = shipped_definitions(files={"devices": ["cpu", "cuda:0"]})["UNETLoaderMultiGPU"].input("device")

    assert without is not None
    assert given is not None
    assert without.choices is None
    assert given.choices == ("cpu", "cuda:0")


def test_packs_of_people_do_not_burden_a_generation() -> None:
    assert "HuMoEmbeds" not in shipped_definitions(Generation.named("0.33.0"))


def test_a_pack_read_by_its_lines_is_what_its_json_says() -> None:
    files = [json.loads(path.read_bytes()) for path in sorted(PACKS_FOLDER.glob("*.json"), reverse=True)]
    wanted: dict[str, list[Any]] = {}
    for file in files:
        for class_type, node in file["nodes"].items():
            wanted.setdefault(class_type, []).append({"python_module": file["python_module"], **node})

    found = {class_type: list(pack_forms(class_type)) for class_type in pack_rows()}

    assert found == wanted
    assert max(map(len, found.values())) > 1
    assert pack_forms("NobodysNode") == ()


@for_each("path", _FILES)
def test_no_fact_names_a_folder_of_the_machine_that_it_was_taken_on(path: Any) -> None:
    file = json.loads(path.read_text(encoding="utf-8"))

    texts = [value for _, value in _walk(file) if isinstance(value, str)]

    assert not [text for text in texts if re.match(r"/(work|mnt|home|root|opt|usr|var|tmp)/", text)]
