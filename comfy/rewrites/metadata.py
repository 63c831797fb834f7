"""The graph, with its prompt, inside the files: only for who wants it there."""

from __future__ import annotations

from typing import Final

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite

_INPUT: Final = "save_metadata"
# Nodes that have no input for it: a flag of ComfyUI's decides for all jobs, and SaveWEBM heeds not even that.
# Source: ComfyUI comfy_extras/nodes_video.py, nodes_images.py, nodes.py: ``args.disable_metadata``.
_BY_FLAG: Final = ("SaveVideo", "SaveAnimatedWEBP", "SaveAnimatedPNG", "SaveImage")


def keep_out_metadata(draft: Draft) -> None:
    """Have VideoHelperSuite's node write no metadata; say so where a job wants them and cannot have them."""
    if not draft.wishes.keep_metadata:
        for node_id in draft.running("VHS_VideoCombine"):
            if draft.has_input(node_id, _INPUT):
                draft.set(
                    node_id, _INPUT, False, "the prompt stays out of the file; the manifest has the graph"
                )
    elif draft.site.writes_metadata is False:
        for node_id in draft.running(*_BY_FLAG):
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
