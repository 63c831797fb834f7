"""The graph, with its prompt, inside the files: only for who wants it there."""

from __future__ import annotations

from typing import Final

from comfy.node_defs.node_classes import VIDEO_COMBINE, node_class
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite

_INPUT: Final = "save_metadata"


def keep_out_metadata(draft: Draft) -> None:
    """Have VideoHelperSuite's node write no metadata; say so where a job wants them and cannot have them."""
    if not draft.options.keep_metadata:
        for node_id in draft.running(VIDEO_COMBINE):
            if draft.has_input(node_id, _INPUT):
                draft.set(
                    node_id, _INPUT, False, "the prompt stays out of the file; the manifest has the graph"
                )
    elif draft.site.writes_metadata is False:
        for node_id in draft.running():
            if not node_class(draft.class_of(node_id)).metadata_by_flag:
                continue
            why = "this ComfyUI runs with --disable-metadata: no prompt in its file; the manifest has it"
            draft.note(node_id, why)


METADATA: Final = Rewrite(
    name="metadata",
    kind=ChangeKind.EXACT,
    title="keeps the prompt out of the files",
    when=(
        "VHS_VideoCombine runs, its format has `save_metadata`, and the job does not ask to keep it. Core "
        "nodes run under `--disable-metadata`; what is in a file all the same is taken out before it is "
        "published, unless FARM_PROMPT_METADATA is set and the job keeps it"
    ),
    effect="a clip that is handed on tells nobody the prompt; the job's manifest holds the whole graph",
    source="https://github.com/Kosinkadink/ComfyUI-VideoHelperSuite (videohelpersuite/nodes.py)",
    apply=keep_out_metadata,
)
