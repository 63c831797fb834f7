r"""Names of files as the worker's system writes them: ``/`` for ``\``."""

from __future__ import annotations

from typing import Final

from comfy.node_defs.separators import respelled
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite


def spell_as_here(draft: Draft) -> None:
    """Give each loader the name under which it offers the file."""
    draft.set_by_definitions(respelled, "the same file, as this worker's system writes its name")


SEPARATORS: Final = Rewrite(
    name="separators",
    kind=ChangeKind.EXACT,
    title="writes names of files as the worker's system does",
    when="a node offers the file that it is given, with other separators between its folders",
    effect="a graph saved on Windows runs instead of being refused",
    source="https://github.com/Comfy-Org/ComfyUI (folder_paths.py)",
    apply=spell_as_here,
)
