"""What a rewrite is: a name, a kind, its condition and effect in words, and what it does to a draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """One entry of the table of all rewrites; its words are the documentation."""

    name: str  # stable: stands in manifests, "tiled-decode"
    kind: ChangeKind
    title: str  # what it does, one line
    when: str  # its condition, in words
    effect: str  # in words; a figure is measured or cited
    source: str  # link for condition and effect, and the file behind it in brackets
    apply: Callable[[Draft], None]
