"""Load device, block swap, force offload and tiles: by the size of card, models and clip."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.rewrites.offload import BLOCK_SWAP, FORCE_OFFLOAD, LOAD
from comfy.rewrites.optimize import Optimized, RewriteStatus, optimize
from comfy.rewrites.options import RewriteOptions
from comfy.rewrites.rewrite import Rewrite
from comfy.wan.models import GIB
from tests.support.fleet import changed, wan_graph
from tests.support.sites import a_site, nodes, wrapper_graph


def written(result: Optimized, input_name: str) -> dict[str, Any]:
    return {change.node_id: change.new for change in result.changes if change.input_name == input_name}


def test_a_card_that_holds_both_experts_gets_the_weights_at_once() -> None:
    result = optimize(wrapper_graph(), a_site(gib=48))

    assert written(result, "load_device") == {"1": "main_device", "2": "main_device"}
    assert written(result, "force_offload") == {"5": False, "6": False}
    assert written(result, "blocks_to_swap") == {"3": 0}


def test_a_card_that_does_not_hold_both_loads_to_host_memory_and_makes_room_after_each_stage() -> None:
    graph = wrapper_graph(load_device="main_device")
    graph["5"]["inputs"]["force_offload"] = False

    result = optimize(graph, a_site(gib=24))

    assert written(result, "load_device") == {"1": "offload_device", "2": "offload_device"}
    assert written(result, "force_offload") == {"5": True}


@pytest.mark.parametrize(
    ("gib", "width", "height", "blocks"),
    [(24, 832, 480, 0), (24, 1280, 720, 15), (12, 832, 480, 28), (8, 1280, 720, 40)],
)
def test_as_many_blocks_are_swapped_as_the_card_lacks(gib: int, width: int, height: int, blocks: int) -> None:
    graph = changed(changed(wrapper_graph(), "4.width", width), "4.height", height)

    result = optimize(graph, a_site(gib=gib), rewrites=[BLOCK_SWAP])

    assert written(result, "blocks_to_swap") == {"3": blocks}
    assert written(result, "prefetch_blocks") == ({"3": 1} if blocks else {})


def test_an_input_that_the_installed_node_does_not_have_is_not_written() -> None:
    old = nodes(
        WanVideoModelLoader={"required": {"model": [[]]}},
        WanVideoBlockSwap={"required": {"blocks_to_swap": ["INT", {}]}},
    )

    result = optimize(wrapper_graph(), a_site(gib=48, definitions=old), rewrites=[LOAD, BLOCK_SWAP])

    assert {change.input_name for change in result.changes} == {"blocks_to_swap"}


def test_a_load_device_on_a_loader_that_has_none_is_left_alone() -> None:
    graph = changed(wan_graph(), "37.unet_name", "wan2.2_t2v_high_noise_14B_Q4_K_M.gguf")
    graph["37"] = {
        "class_type": "UnetLoaderGGUF",
        "inputs": {**graph["37"]["inputs"], "load_device": "offload_device"},
    }

    assert optimize(graph, a_site(gib=80), rewrites=[LOAD]).changes == ()


def test_a_fork_of_the_gguf_loader_that_has_the_input_gets_it() -> None:
    graph = wan_graph()
    for node_id in ("37", "56"):
        graph[node_id] = {
            "class_type": "UnetLoaderGGUF",
            "inputs": {"unet_name": graph[node_id]["inputs"]["unet_name"]},
        }
    fork = nodes(
        UnetLoaderGGUF={
            "required": {"unet_name": [[]], "load_device": [["main_device", "offload_device"], {}]}
        }
    )

    result = optimize(graph, a_site(gib=80, definitions=fork), rewrites=[LOAD])

    assert written(result, "load_device") == {"37": "main_device", "56": "main_device"}


def test_a_lora_that_is_not_merged_keeps_the_weights_in_host_memory_and_says_so() -> None:
    graph = wrapper_graph(lora=["20", 0])
    graph["20"] = {
        "class_type": "WanVideoLoraSelect",
        "inputs": {"lora": "a.safetensors", "strength": 1.0, "merge_loras": False},
    }

    result = optimize(graph, a_site(gib=80), rewrites=[LOAD])

    (outcome,) = result.outcomes
    assert outcome.status is RewriteStatus.SKIPPED
    assert "not merged" in outcome.notes[0]


def test_what_a_graph_says_of_devices_swap_and_offload_stays_where_the_job_keeps_it() -> None:
    graph = wrapper_graph()

    result = optimize(graph, a_site(gib=48), options=RewriteOptions(keep_offloading=True))

    assert {"load_device", "force_offload", "blocks_to_swap"}.isdisjoint(
        change.input_name for change in result.changes
    )


@pytest.mark.parametrize(
    ("rewrite", "status"),
    [
        (LOAD, RewriteStatus.SKIPPED),
        (FORCE_OFFLOAD, RewriteStatus.SKIPPED),
        (BLOCK_SWAP, RewriteStatus.APPLIED),
    ],
)
def test_without_a_known_card_sizes_are_not_judged_and_that_is_said(
    rewrite: Rewrite, status: RewriteStatus
) -> None:
    result = optimize(wrapper_graph(), a_site(gib=None), rewrites=[rewrite])

    (outcome,) = result.outcomes
    assert outcome.status is status  # one block fetched ahead is right on every card
    assert "card is not known" in outcome.notes[0]


def test_a_size_on_disk_counts_more_than_a_published_one() -> None:
    graph = wrapper_graph()
    small = {graph[node]["inputs"]["model"]: 5 * GIB for node in ("1", "2")}

    result = optimize(graph, a_site(gib=24, model_bytes=small), rewrites=[LOAD])

    assert set(written(result, "load_device").values()) == {"main_device"}


def test_the_wrapper_decodes_in_tiles_where_the_whole_does_not_fit() -> None:
    graph = changed(changed(wrapper_graph(), "4.width", 1280), "4.height", 720)

    assert written(optimize(graph, a_site(gib=12)), "enable_vae_tiling") == {"8": True}
    assert written(optimize(graph, a_site(gib=24)), "enable_vae_tiling") == {}
