"""Previews: outputs that nobody sees on a worker."""

from __future__ import annotations

import json
from typing import Final

from comfy.graphs.required import is_output
from comfy.node_defs.node_classes import OUTPUT_PREFIX, SAVES_AT_ALL, node_class
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite


def drop_previews(draft: Draft) -> None:
    """Remove preview nodes that nothing draws on, if an output that is kept stays."""
    outputs = [each for each in draft.running() if is_output(draft.graph, each, draft.site.definitions)]
    previews = [each for each in outputs if _is_preview(draft, each)]
    if len(previews) == len(outputs):
        return  # they are all there is: what they show may be what the job is for
    for node_id in previews:
        if not draft.consumers(node_id):
            draft.drop(node_id, "a preview that nobody sees; what it alone draws on is not computed")


def _is_preview(draft: Draft, node_id: str) -> bool:
    if draft.value(node_id, SAVES_AT_ALL) is False:
        return True  # into ComfyUI's temp folder
    return node_class(draft.class_of(node_id)).only_shows


def drop_doubles(draft: Draft) -> None:
    """Remove outputs that save again, in the same way, what another one saves."""
    seen: dict[str, str] = {}
    for node_id in [each for each in draft.running() if is_output(draft.graph, each, draft.site.definitions)]:
        inputs = {name: value for name, value in draft.inputs(node_id).items() if name != OUTPUT_PREFIX}
        what = json.dumps([draft.class_of(node_id), inputs], sort_keys=True, default=repr)
        first = seen.setdefault(what, node_id)
        if first != node_id and not draft.consumers(node_id):
            draft.drop(node_id, f"node {first} saves the same in the same way")


PREVIEWS: Final = Rewrite(
    name="previews",
    kind=ChangeKind.EXACT,
    title="drops preview nodes",
    when="a preview node is an output, nothing draws on it, and an output that is kept stays",
    effect=(
        "saves what only the preview needed: nothing for a picture that is made anyway, a whole branch "
        "(a second decode, an encode) for one that is not"
    ),
    source="https://docs.comfy.org/development/core-concepts/workflow",
    apply=drop_previews,
)
DOUBLES: Final = Rewrite(
    name="doubles",
    kind=ChangeKind.EXACT,
    title="drops outputs that save the same twice",
    when="two outputs of one class have the same inputs but for the file's name, and nothing draws on them",
    effect="each clip is encoded, stored and listed once; the first output's file is the one that stays",
    source="https://github.com/Comfy-Org/ComfyUI (execution.py)",
    apply=drop_doubles,
)
