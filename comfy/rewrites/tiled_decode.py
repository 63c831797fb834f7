"""Decode in tiles, so that the VAE needs a fraction of the memory."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any, Final

from comfy.rewrites.change import Change, ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.room import NotKnown, clip_of, decode_bytes, decodes_whole

WHOLE: Final = "VAEDecode"
TILED: Final = "VAEDecodeTiled"
_WRAPPER: Final = "WanVideoDecode"
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
                rewrite=TILED_DECODE.name,
            )
        )
    return rewritten, tuple(changes)


def tile_where_needed(draft: Draft) -> None:
    """Decode in tiles where the VAE's peak is more than the card has."""
    whole = list(draft.running(WHOLE))
    wrapper = [each for each in draft.running(_WRAPPER) if draft.value(each, "enable_vae_tiling") is False]
    if not whole and not wrapper:
        return
    try:
        if decodes_whole(draft.graph, draft.site):
            return
        size, peak = clip_of(draft.graph, draft.site), decode_bytes(draft.graph, draft.site)
    except NotKnown as exc:
        draft.notes.append(f"whether the VAE has to decode in tiles is not judged: {exc}")
        return
    why = f"decoding {size.width}×{size.height} whole takes {peak / 2**30:.1f} GiB"
    tiled = draft.site.definitions.get(TILED)
    for node_id in whole:
        # Only what the installed node has: older ones have no temporal tiles.
        known = {name: value for name, value in _DEFAULTS.items() if tiled is None or tiled.input(name)}
        draft.become(node_id, TILED, {**draft.inputs(node_id), **known}, why)
    for node_id in wrapper:
        draft.set(node_id, "enable_vae_tiling", True, why)


TILED_DECODE: Final = Rewrite(
    name="tiled-decode",
    kind=ChangeKind.NEAR,
    title="decodes in overlapping tiles",
    when="decoding the clip whole takes more VRAM than the card has (5.2 GiB at 832×480, 12 GiB at 1280×720)",
    effect=(
        "1.5 GiB or less at the peak; ComfyUI would fail first and try tiles then. Tiles are slower than a "
        "whole decode that fits, so they are used nowhere else"
    ),
    source="https://github.com/Comfy-Org/ComfyUI (comfy/sd.py)",
    apply=tile_where_needed,
)
