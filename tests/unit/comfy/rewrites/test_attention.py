"""Which attention back-end is written, by the job's policy and by what a host has proven."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.rewrites.attention import ATTENTION, forced_sage, other_attentions, take_pytorchs
from comfy.rewrites.change import Change
from comfy.rewrites.optimize import optimize
from comfy.rewrites.options import Attention, RewriteOptions
from tests.support.fleet import wan_graph
from tests.support.sites import a_site, wrapper_graph


def changes(graph: dict[str, Any], policy: Attention, **proven_s: float) -> tuple[Change, ...]:
    site = a_site(attention_proven=proven_s)
    return optimize(graph, site, options=RewriteOptions(attention=policy), rewrites=[ATTENTION]).changes


def with_kj_patches(graph: dict[str, Any], value: str = "auto") -> dict[str, Any]:
    """Both experts behind KJNodes' patch."""
    for number, (shift, loader) in enumerate((("54", "37"), ("55", "56")), start=201):
        graph[str(number)] = {
            "class_type": "PathchSageAttentionKJ",
            "inputs": {"model": [loader, 0], "sage_attention": value},
        }
        graph[shift]["inputs"]["model"] = [str(number), 0]
    return graph


def test_sage_gives_way_to_sdpa_on_both_experts() -> None:
    assert [(each.node_id, each.new) for each in changes(wrapper_graph(), Attention.SDPA)] == [
        ("1", "sdpa"),
        ("2", "sdpa"),
    ]


def test_the_patch_of_kjnodes_is_disabled_where_it_is_set() -> None:
    found = changes(with_kj_patches(wan_graph()), Attention.SDPA)

    assert [(each.node_id, each.input_name, each.new) for each in found] == [
        ("201", "sage_attention", "disabled"),
        ("202", "sage_attention", "disabled"),
    ]


@pytest.mark.parametrize("mode", ["sdpa", "flash_attn_2"])
def test_what_does_not_force_sage_stays(mode: str) -> None:
    assert changes(wrapper_graph(attention_mode=mode), Attention.SDPA) == ()


def test_keep_keeps() -> None:
    assert changes(wrapper_graph(), Attention.KEEP) == ()


@pytest.mark.parametrize("fork", ["WanVideoModelLoaderHoloCine", "HyVideoModelLoader", "SeedVR2LoadDiTModel"])
def test_whatever_loads_a_model_with_an_attention_is_known_to_choose_one(fork: str) -> None:
    inputs = {"model": "a.safetensors", "attention_mode": "sageattn"}
    graph = {"1": {"class_type": fork, "inputs": inputs}}

    taken, made = take_pytorchs(graph)

    assert list(other_attentions(graph)) == [("1", "attention_mode", "sageattn")]
    assert list(forced_sage(fork, inputs.get)) == [("attention_mode", "sageattn")]
    assert taken["1"]["inputs"]["attention_mode"] == "sdpa"
    assert len(made) == 1


def test_auto_takes_the_fastest_that_the_host_has_proven() -> None:
    found = changes(wrapper_graph(), Attention.AUTO, sdpa=0.004, sage=0.002, flash3=0.0015)

    assert {each.new for each in found} == {"flash_attn_3"}
    assert "1.5 ms" in found[0].why


def test_auto_without_proof_is_sdpa() -> None:
    assert {each.new for each in changes(wrapper_graph(), Attention.AUTO)} == {"sdpa"}


def test_auto_passes_over_a_back_end_that_the_node_does_not_offer() -> None:
    found = changes(with_kj_patches(wan_graph(), "auto"), Attention.AUTO, sdpa=0.004, flash3=0.001)

    assert {each.new for each in found} == {"disabled"}


def test_a_loader_that_feeds_no_output_is_not_worth_a_change() -> None:
    graph = wrapper_graph()
    graph["99"] = graph["1"]

    assert "99" not in {each.node_id for each in changes(graph, Attention.SDPA)}
