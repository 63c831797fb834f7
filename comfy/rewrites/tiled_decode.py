"""Decode in tiles, so that the VAE needs a fraction of the memory."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any, Final

from comfy.rewrites.change import Change, ChangeKind

WHOLE: Final = "VAEDecode"
TILED: Final = "VAEDecodeTiled"
# The node's own defaults: tiles overlap, so that seams are blended.
# Source: ComfyUI nodes.py, ``VAEDecodeTiled.INPUT_TYPES``.
_DEFAULTS: Final[Mapping[str, int]] = {
    "tile_size": 512,
    "overlap": 64,
    "temporal_size": 64,
    "temporal_overlap": 8,
}
_WHY: Final = "the card ran out of memory: decoded in overlapping tiles"


def tile_decodes(
    graph: Mapping[str, Any], inputs: Collection[str]
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Give a copy of the graph whose every VAEDecode is a VAEDecodeTiled: the same but for blended seams.

    Args:
        inputs: what the installed VAEDecodeTiled takes; older ones have no temporal tiles.
    """
    rewritten: dict[str, Any] = copy.deepcopy(dict(graph))
    changes = []
    for node_id, node in rewritten.items():
        if node.get("class_type") != WHOLE:
            continue
        node["class_type"] = TILED
        node["inputs"] |= {name: value for name, value in _DEFAULTS.items() if name in inputs}
        changes.append(
            Change(
                node_id=node_id,
                input_name="class_type",
                old=WHOLE,
                new=TILED,
                why=_WHY,
                kind=ChangeKind.NEAR,
            )
        )
    return rewritten, tuple(changes)
