"""Which rewrites are applied, and what becomes of one that fails."""

from __future__ import annotations

import pytest

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.gguf import GGUF
from comfy.rewrites.optimize import RewriteStatus, optimize
from comfy.rewrites.registry import REWRITES
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.unloads import UNLOADS
from tests.support.fleet import changed, wan_graph
from tests.support.sites import a_site


def a_rewrite(apply: object, kind: ChangeKind = ChangeKind.NEAR) -> Rewrite:
    return Rewrite(name="mine", kind=kind, title="t", when="w", effect="e", source="s", apply=apply)  # type: ignore[arg-type]


def set_steps(draft: Draft) -> None:
    draft.set("57", "steps", 12, "because")


@pytest.mark.parametrize("accept", ChangeKind)
@pytest.mark.parametrize("kind", ChangeKind)
def test_a_kind_is_applied_when_it_or_a_farther_one_is_accepted(kind: ChangeKind, accept: ChangeKind) -> None:
    order = [ChangeKind.EXACT, ChangeKind.NEAR, ChangeKind.DIFFERENT]

    result = optimize(wan_graph(), a_site(), accept=accept, rewrites=[a_rewrite(set_steps, kind)])

    applied = order.index(kind) <= order.index(accept)
    assert (result.graph["57"]["inputs"]["steps"] == 12) is applied
    assert result.outcomes[0].status is (RewriteStatus.APPLIED if applied else RewriteStatus.REFUSED)


def test_a_rewrite_that_raises_changes_nothing_and_the_others_go_on() -> None:
    def fail(draft: Draft) -> None:
        draft.set("58", "steps", 3, "half done")
        raise RuntimeError("no luck")

    result = optimize(wan_graph(), a_site(), rewrites=[a_rewrite(fail), a_rewrite(set_steps)])

    assert result.graph["58"]["inputs"]["steps"] == 20
    assert result.graph["57"]["inputs"]["steps"] == 12
    assert [(each.status, each.notes) for each in result.outcomes] == [
        (RewriteStatus.FAILED, ("RuntimeError: no luck",)),
        (RewriteStatus.APPLIED, ()),
    ]


def test_a_rewrite_that_would_make_the_graph_invalid_is_undone() -> None:
    def break_it(draft: Draft) -> None:
        draft.drop("39", "a rewrite with a fault")

    graph = wan_graph()

    result = optimize(graph, a_site(), rewrites=[a_rewrite(break_it)])

    assert result.graph == graph
    assert result.outcomes[0].status is RewriteStatus.FAILED
    assert "would be refused" in result.outcomes[0].notes[0]


def test_a_value_outside_what_the_node_takes_is_not_written() -> None:
    def too_many(draft: Draft) -> None:
        assert not draft.set("57", "steps", 10**9, "why not")
        assert not draft.set("57", "sampler_name", "the best", "why not")
        assert not draft.set("57", "no_such_input", 1, "why not")

    result = optimize(wan_graph(), a_site(), rewrites=[a_rewrite(too_many)])

    assert result.changes == ()
    assert len(result.outcomes[0].notes) == 3


def test_a_value_that_a_link_brings_already_is_no_change() -> None:
    graph = changed(wan_graph(), "57.steps", ["80", 0])
    graph["80"] = {"class_type": "PrimitiveInt", "inputs": {"value": 12}}

    assert optimize(graph, a_site(), rewrites=[a_rewrite(set_steps)]).changes == ()


def test_a_linked_value_is_cut_from_its_link() -> None:
    graph = changed(wan_graph(), "57.steps", ["80", 0])
    graph["80"] = {"class_type": "PrimitiveInt", "inputs": {"value": 20}}

    result = optimize(graph, a_site(), rewrites=[a_rewrite(set_steps)])

    assert [(each.old, each.new) for each in result.changes] == [(["80", 0], 12)]
    assert result.graph["80"] == graph["80"]


def test_names_are_told_apart() -> None:
    names = [rewrite.name for rewrite in REWRITES]

    assert len(set(names)) == len(names)


def test_unload_nodes_leave_the_chain_where_all_models_fit() -> None:
    graph = wan_graph()
    graph["80"] = {"class_type": "UnloadModel", "inputs": {"value": ["57", 0], "model": ["54", 0]}}
    graph["58"]["inputs"]["latent_image"] = ["80", 0]

    small = optimize(graph, a_site(gib=24), rewrites=[UNLOADS])
    large = optimize(graph, a_site(gib=80), rewrites=[UNLOADS])

    assert small.changes == ()
    assert "80" not in large.graph
    assert large.graph["58"]["inputs"]["latent_image"] == ["57", 0]


@pytest.mark.parametrize(("quant", "gib", "told"), [("Q8_0", 24, 2), ("Q4_K_M", 24, 0), ("Q8_0", 12, 0)])
def test_fp8_in_place_of_gguf_is_only_suggested(quant: str, gib: int, told: int) -> None:
    graph = wan_graph()
    for node_id, noise in (("37", "high"), ("56", "low")):
        name = f"wan2.2_t2v_{noise}_noise_14B_{quant}.gguf"
        graph[node_id] = {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": name}}

    result = optimize(graph, a_site(gib=gib), accept=ChangeKind.DIFFERENT, rewrites=[GGUF])

    assert result.graph == graph
    assert sum(len(each.notes) for each in result.outcomes) == told
