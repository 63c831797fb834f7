"""Nodes that throw models out between two stages: each costs a load per job on a warm worker."""

from __future__ import annotations

from typing import Any, Final

from comfy.graphs.links import is_link
from comfy.node_defs.node_classes import node_class
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.room import NotKnown


def drop_unloads(draft: Draft) -> None:
    """Take the unload nodes out of the chain where all models fit beside each other."""
    nodes = [each for each in draft.running() if node_class(draft.class_of(each)).unloads]
    if not nodes:
        return
    try:
        room = draft.reading.room()
    except NotKnown as exc:
        draft.notes.append(f"unload nodes stay: {exc}")
        return
    if not room.fit.all_stay:
        return
    for node_id in nodes:
        _take_out(draft, node_id)


def _take_out(draft: Draft, node_id: str) -> None:
    slots = node_class(draft.class_of(node_id)).hands_on
    drawn = {draft.inputs(other)[name][1] for other, name in draft.consumers(node_id)}
    sources: dict[int, Any] = {slot: draft.inputs(node_id).get(slots.get(slot, "")) for slot in drawn}
    if not all(is_link(source) for source in sources.values()):
        draft.note(node_id, "stays: something draws on what it makes itself")
        return
    why = "all models of this graph fit on the card together: unloading one costs a load in the next job"
    for slot, source in sources.items():
        draft.relink(node_id, slot, source, why)
    draft.drop(node_id, why)


UNLOADS: Final = Rewrite(
    name="unloads",
    kind=ChangeKind.EXACT,
    title="takes unload nodes out of the chain",
    when="UnloadModel, UnloadAllModels or VRAM_Debug runs, and all models fit on the card together",
    effect="a warm worker keeps its models: for each, one load per job less (13.3 GiB for an fp8 expert)",
    source="https://github.com/Comfy-Org/ComfyUI (comfy/model_management.py)",
    apply=drop_unloads,
)
