"""Nodes that throw models out between two stages: each costs a load per job on a warm worker."""

from __future__ import annotations

from typing import Any, Final

from comfy.graphs.links import is_link
from comfy.graphs.required import is_output
from comfy.node_defs.node_classes import cleans_memory, node_class
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.room import NotKnown


def drop_unloads(draft: Draft) -> None:
    """Take the unload nodes out of the chain where all models fit beside each other."""
    nodes = [each for each in draft.running() if cleans_memory(draft.class_of(each))]
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
    drawn = {draft.inputs(other)[name][1] for other, name in draft.consumers(node_id)}
    sources = {slot: _behind(draft, node_id, slot) for slot in drawn}
    if not all(is_link(source) for source in sources.values()):
        draft.note(node_id, "stays: something draws on what it makes itself")
        return
    if not drawn and is_output(draft.graph, node_id, draft.site.definitions):
        draft.note(node_id, "stays: it is an output of the graph itself")
        return
    why = "all models of this graph fit on the card together: unloading one costs a load in the next job"
    for slot, source in sources.items():
        draft.relink(node_id, slot, source, why)
    draft.drop(node_id, why)


def _behind(draft: Draft, node_id: str, slot: int) -> Any:
    """The link that leaves a node at an output as it came; None where that is not known.

    Of a class without a row: the only linked input, or the only one of the output's kind.
    """
    inputs, class_type = draft.inputs(node_id), draft.class_of(node_id)
    known = node_class(class_type).hands_on
    if known:
        return inputs.get(known.get(slot, ""))
    linked = {name: value for name, value in inputs.items() if is_link(value)}
    node = draft.site.definitions.get(class_type)
    outputs = node.outputs if node is not None else ()
    if len(linked) == 1 and len(outputs) <= 1:
        return next(iter(linked.values()))
    if node is None or slot >= len(outputs):
        return None
    kind = outputs[slot].kind
    alike = [value for name, value in linked.items() if (of := node.input(name)) and of.kind == kind]
    return alike[0] if len(alike) == 1 else None


UNLOADS: Final = Rewrite(
    name="unloads",
    kind=ChangeKind.EXACT,
    title="takes nodes out of the chain that unload models or clean memory",
    when="a memory cleaner of any pack runs, and all models fit on the card together",
    effect="a warm worker keeps its models: for each, one load per job less (13.3 GiB for an fp8 expert)",
    source="https://github.com/Comfy-Org/ComfyUI (comfy/model_management.py)",
    apply=drop_unloads,
)
