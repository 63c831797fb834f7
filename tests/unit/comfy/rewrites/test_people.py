"""Rewrites of what people have in graphs: names, doubles, memory cleaners, an encoder on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy.generations import NEWEST
from comfy.node_defs.definitions import Definitions
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.offload import ENCODER
from comfy.rewrites.optimize import RewriteStatus, optimize
from comfy.rewrites.previews import DOUBLES
from comfy.rewrites.separators import SEPARATORS
from comfy.rewrites.unloads import UNLOADS
from farm.fleet.judge import Judge
from tests.support.fleet import changed, wan_graph
from tests.support.sites import a_site, nodes

Graph = dict[str, Any]
CASES = Path(__file__).parents[3] / "data" / "cases"


def offering(*files: str) -> Definitions:
    return nodes(UNETLoader={"required": {"unet_name": [list(files)], "weight_dtype": [["default"]]}})


HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
LOW = "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"


def from_windows() -> Graph:
    return changed(
        changed(wan_graph(), "37.unet_name", f"WAN\\2.2\\{HIGH}"), "56.unet_name", f"WAN\\2.2\\{LOW}"
    )


def test_a_name_from_windows_becomes_the_one_that_the_worker_offers_and_is_no_fault() -> None:
    here = offering(f"WAN/2.2/{HIGH}", f"WAN/2.2/{LOW}")

    result = optimize(
        from_windows(), a_site(definitions=here), accept=ChangeKind.EXACT, rewrites=[SEPARATORS]
    )

    assert [(each.node_id, each.new) for each in result.changes] == [
        ("37", f"WAN/2.2/{HIGH}"),
        ("56", f"WAN/2.2/{LOW}"),
    ]
    faults = [
        each for each in Judge(here, NEWEST).problems(from_windows()) if each.class_type == "UNETLoader"
    ]
    assert faults == []


def test_a_name_that_is_not_offered_stays_and_is_a_fault() -> None:
    here = offering(f"other/{HIGH}", LOW)

    assert optimize(from_windows(), a_site(definitions=here), rewrites=[SEPARATORS]).changes == ()
    assert [each for each in Judge(here, NEWEST).problems(from_windows()) if each.class_type == "UNETLoader"]


def test_the_case_of_people_is_spelled_as_here() -> None:
    graph = json.loads((CASES / "r03_windows_path.json").read_text(encoding="utf-8"))
    written = [
        value
        for node in graph.values()
        for value in node["inputs"].values()
        if isinstance(value, str) and "\\" in value
    ]
    loaders = {
        node["class_type"] for node in graph.values() if set(written) & set(map(str, node["inputs"].values()))
    }
    here = nodes(
        **{
            each: {
                "required": {
                    name: [[value.replace("\\", "/") for value in written], {}]
                    for node in graph.values()
                    if node["class_type"] == each
                    for name, value in node["inputs"].items()
                    if value in written
                }
            }
            for each in loaders
        }
    )

    result = optimize(graph, a_site(definitions=here), accept=ChangeKind.EXACT, rewrites=[SEPARATORS])

    assert written
    assert sorted(each.new for each in result.changes) == sorted(each.replace("\\", "/") for each in written)


def test_an_output_that_saves_the_same_again_is_dropped_and_another_format_is_not() -> None:
    graph = wan_graph()
    graph["70"] = {"class_type": "SaveVideo", "inputs": {**graph["61"]["inputs"], "filename_prefix": "again"}}
    graph["71"] = {"class_type": "SaveVideo", "inputs": {**graph["61"]["inputs"], "format": "webm"}}

    result = optimize(graph, a_site(), accept=ChangeKind.EXACT, rewrites=[DOUBLES])

    assert graph.keys() - result.graph.keys() == {"70"}


def cleaned(class_type: str, **inputs: Any) -> Graph:
    """A cleaner between the two samplers."""
    graph = changed(wan_graph(), "58.latent_image", ["96", 0])
    graph["96"] = {"class_type": class_type, "inputs": {"anything": ["57", 0], **inputs}}
    return graph


CLEANERS = {
    "easy cleanGpuUsed": {"required": {"anything": ["*"]}},
    "LayerUtility: PurgeVRAM V2": {"required": {"anything": ["*"], "purge_cache": ["BOOLEAN"]}},
    "VRAMCleanup": {"required": {"anything": ["*"], "offload_model": ["BOOLEAN"]}},
}


@pytest.mark.parametrize("class_type", CLEANERS)
def test_a_memory_cleaner_of_any_pack_goes_where_all_models_fit(class_type: str) -> None:
    here = nodes(**CLEANERS)
    graph = cleaned(class_type)

    roomy = optimize(graph, a_site(gib=80, definitions=here), rewrites=[UNLOADS])
    narrow = optimize(graph, a_site(gib=24, definitions=here), rewrites=[UNLOADS])

    assert roomy.graph["58"]["inputs"]["latent_image"] == ["57", 0]
    assert "96" not in roomy.graph
    assert narrow.changes == ()


def test_a_cleaner_whose_output_cannot_be_traced_stays() -> None:
    here = nodes(VRAMCleanup={"required": {"anything": ["*"], "other": ["*"]}})

    result = optimize(
        cleaned("VRAMCleanup", other=["39", 0]), a_site(gib=80, definitions=here), rewrites=[UNLOADS]
    )

    assert result.changes == ()
    assert [each.status for each in result.outcomes] == [RewriteStatus.SKIPPED]


@pytest.mark.parametrize(("gib", "device"), [(24, "default"), (6, "cpu"), (None, "cpu")])
def test_the_text_encoder_goes_to_the_card_where_it_fits(gib: float | None, device: str) -> None:
    graph = changed(wan_graph(), "38.device", "cpu")

    result = optimize(graph, a_site(gib=gib), rewrites=[ENCODER])

    assert result.graph["38"]["inputs"]["device"] == device


def test_an_encoder_stays_where_the_worker_s_node_offers_no_other_device() -> None:
    here = nodes(CLIPLoader={"required": {"clip_name": [[]], "type": [["wan"]], "device": [["cpu"]]}})
    graph = changed(wan_graph(), "38.device", "cpu")

    assert optimize(graph, a_site(definitions=here), rewrites=[ENCODER]).changes == ()
