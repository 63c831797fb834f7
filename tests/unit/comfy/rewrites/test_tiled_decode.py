"""Decoding in tiles."""

from __future__ import annotations

from comfy.judging.validation import validate
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import optimize
from comfy.rewrites.tiled_decode import TILED_DECODE, tile_decodes
from tests.support.fleet import wan_graph
from tests.support.sites import a_site, nodes

GRAPH = {
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["39", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
}


def test_every_decode_becomes_a_tiled_one_with_the_same_links() -> None:
    graph, changes = tile_decodes(GRAPH, {"samples", "vae", "tile_size", "overlap"})

    assert graph["8"] == {
        "class_type": "VAEDecodeTiled",
        "inputs": {"samples": ["3", 0], "vae": ["39", 0], "tile_size": 512, "overlap": 64},
    }
    assert graph["9"] == GRAPH["9"]
    assert [(change.node_id, change.new, change.kind) for change in changes] == [
        ("8", "VAEDecodeTiled", ChangeKind.NEAR)
    ]


def test_the_given_graph_stays_as_it_is() -> None:
    tile_decodes(GRAPH, {"tile_size", "temporal_size"})

    assert GRAPH["8"]["class_type"] == "VAEDecode"


def test_a_clip_that_decodes_whole_on_the_card_is_not_tiled() -> None:
    assert optimize(wan_graph(width=832, height=480), a_site(gib=24), rewrites=[TILED_DECODE]).changes == ()


def test_a_clip_whose_decode_is_larger_than_the_card_is_tiled_and_stays_valid() -> None:
    graph = wan_graph(width=1280, height=720)

    result = optimize(graph, a_site(gib=12), rewrites=[TILED_DECODE])

    assert result.graph["8"]["class_type"] == "VAEDecodeTiled"
    assert result.graph["8"]["inputs"]["samples"] == graph["8"]["inputs"]["samples"]
    assert "12.0 GiB" in result.changes[0].why
    assert validate(result.graph, nodes()).ok
