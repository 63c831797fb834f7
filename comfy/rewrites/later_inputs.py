"""Inputs that a node requires in this ComfyUI and did not have when the graph was saved."""

from __future__ import annotations

from typing import Final

from comfy.node_defs.later_inputs import later_inputs
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite


def fill_in_later_inputs(draft: Draft) -> None:
    """Give each node the defaults of what it came to require."""
    draft.set_by_definitions(later_inputs, "the node did without this input when the graph was saved")


LATER_INPUTS: Final = Rewrite(
    name="later-inputs",
    kind=ChangeKind.EXACT,
    title="gives nodes what they came to require",
    when=(
        "a node lacks an input that is required here, that an older release of it did not have, and for "
        "which the node itself names a default"
    ),
    effect="a graph saved for an older ComfyUI runs instead of being refused, with what it then meant",
    source="https://github.com/comfyanonymous/ComfyUI (comfy_extras/nodes_context_windows.py)",
    apply=fill_in_later_inputs,
)
