"""Decoding in tiles."""

from __future__ import annotations

from comfy.rewrites import ChangeKind, tile_decodes

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
